/* Rules: which acts on what.  All with the proxy's mutex held. */
#include <stdlib.h>
#include <string.h>

#include "fault/proxy_internal.h"
#include "fault/proxy_resp.h"

void proxy_rule_free(struct rule *rule)
{
    free(rule->command);
    free(rule->contains);
    free(rule->bytes);
    free(rule);
}

struct rule *proxy_rule_create(const struct proxy_rule *spec)
{
    struct rule *rule = calloc(1, sizeof *rule);
    size_t length = spec->length;

    if (rule == NULL)
        return NULL;
    if (length == 0 && spec->bytes != NULL)
        length = strlen(spec->bytes);
    rule->command = spec->command != NULL ? strdup(spec->command) : NULL;
    rule->contains = spec->contains != NULL ? strdup(spec->contains) : NULL;
    rule->bytes = malloc(length + 1);
    if ((spec->command != NULL && rule->command == NULL) ||
        (spec->contains != NULL && rule->contains == NULL) || rule->bytes == NULL) {
        proxy_rule_free(rule);
        return NULL;
    }
    if (length > 0)
        memcpy(rule->bytes, spec->bytes, length);
    rule->spec = *spec;
    rule->spec.command = rule->command;
    rule->spec.contains = rule->contains;
    rule->spec.bytes = rule->bytes;
    rule->spec.length = length;
    rule->active = true;
    return rule;
}

static enum stage stage_of(enum proxy_action action)
{
    switch (action) {
    case PROXY_HOLD_REQUEST:
    case PROXY_SWALLOW_REQUESTS: return ON_REQUEST;
    case PROXY_WATCH: return ON_WRITTEN;
    default: return ON_REPLY;
    }
}

void proxy_rule_acted(struct proxy *proxy, struct rule *rule)
{
    rule->counts.acted++;
    pthread_cond_broadcast(&proxy->changed);
}

bool proxy_rule_acts(const struct frame *frame, enum stage stage, enum proxy_action action)
{
    return frame->rules[stage] != NULL && frame->rules[stage]->spec.action == action;
}

bool proxy_frame_held(const struct frame *frame, enum stage stage)
{
    enum proxy_action hold = stage == ON_REQUEST ? PROXY_HOLD_REQUEST : PROXY_HOLD_REPLY;

    return proxy_rule_acts(frame, stage, hold) && frame->ordinal > frame->rules[stage]->released;
}

/* value: a request, or a message, whose rules are those for pushes. */
static bool rule_fits(const struct rule *rule, const char *value, bool push)
{
    const struct proxy_rule *spec = &rule->spec;
    const char *at;
    long long count = proxy_resp_array(value, &at);
    bool fits = spec->contains == NULL;

    if (!rule->active || spec->pushes != push || spec->action == PROXY_SWALLOW_REPLIES)
        return false;
    for (long long i = 0; i < count; i++) {
        struct text text = proxy_resp_next(&at);

        if (i == 0 && !push && spec->command != NULL && !proxy_text_is(text, spec->command))
            return false;
        if (!fits)
            fits = proxy_text_has(text, spec->contains);
    }
    return fits;
}

/* Counts the match; true if the rule is to act on it. */
static bool rule_match(struct rule *rule)
{
    rule->counts.matched++;
    return rule->spec.nth == 0 || rule->spec.nth == rule->counts.matched;
}

void proxy_choose_rules(struct proxy *proxy, struct frame *frame, bool push)
{
    for (size_t i = 0; i < proxy->rule_count; i++) {
        struct rule *rule = proxy->rules[i];
        struct rule **chosen = &frame->rules[stage_of(rule->spec.action)];

        if (rule_fits(rule, frame->bytes, push) && rule_match(rule) && *chosen == NULL)
            *chosen = rule;
    }
}

bool proxy_is_blackhole(const struct proxy *proxy, enum proxy_action action)
{
    for (size_t i = 0; i < proxy->rule_count; i++) {
        const struct rule *rule = proxy->rules[i];

        if (rule->active && rule->spec.action == action && !rule->spec.pushes &&
            rule->spec.nth == 0 && rule->spec.command == NULL && rule->spec.contains == NULL)
            return true;
    }
    return false;
}

bool proxy_swallows_reply(struct proxy *proxy)
{
    bool swallowed = false;

    for (size_t i = 0; i < proxy->rule_count; i++) {
        struct rule *rule = proxy->rules[i];

        if (!rule->active || rule->spec.action != PROXY_SWALLOW_REPLIES || !rule_match(rule))
            continue;
        proxy_rule_acted(proxy, rule);
        swallowed = true;
    }
    return swallowed;
}
