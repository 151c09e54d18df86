# Rewrites the tables of a document from what stile-bench wrote with --json.
# usage: awk -f document.awk -v machine=TEXT RESULTS DOCUMENT
#
# The table of a row stands between <!-- ROW --> and <!-- end -->; one for which there
# are no results stays as it is, and so does <!-- machine --> without a text.  Between
# <!-- slower --> and <!-- end --> stands every peer that beats stile by more than 5 %.

function text(name,    at)
{
    if (!match($0, "\"" name "\":\"[^\"]*\""))
        return ""
    at = RSTART + length(name) + 4
    return substr($0, at, RSTART + RLENGTH - at - 1)
}

function number(name,    at)
{
    if (!match($0, "\"" name "\":[-+.0-9e]*"))
        return ""
    at = RSTART + length(name) + 3
    return substr($0, at, RSTART + RLENGTH - at)
}

function rounded(value)
{
    value += 0
    return sprintf(value < 10 ? "%.2f" : value < 1000 ? "%.1f" : "%.0f", value)
}

# A list without doubles: known[list], known[list, 1], ...
function remember(list, what)
{
    if ((list, "has", what) in known)
        return
    known[list, "has", what] = 1
    known[list, ++known[list]] = what
}

function table(row,    m, i, c, line, id, metric, contender)
{
    for (m = 1; m <= known[row, "matches"]; m++) {
        id = known[row, "matches", m]
        print (m > 1 ? "\n" : "") shown[id] ":\n"
        line = "| |"
        for (i = 1; i <= known[id, "metrics"]; i++) {
            metric = known[id, "metrics", i]
            line = line " " metric ", " unit[id, metric] " |" (i == 1 ? " least and most |" : "")
        }
        print line " stile / it |"
        gsub(/[^|]+/, "---", line)
        print line "---|"
        for (c = 1; c <= known[id, "contenders"]; c++) {
            contender = known[id, "contenders", c]
            line = "| " contender " |"
            for (i = 1; i <= known[id, "metrics"]; i++) {
                metric = known[id, "metrics", i]
                line = line " " value[id, contender, metric] " |"
                if (i == 1)
                    line = line " " spread[id, contender, metric] " |"
            }
            print line " " ratio[id, contender] " |"
        }
        if ((id, "best") in ratio)
            print "\nstile / the best of those whose waiters sleep: " ratio[id, "best"] "."
    }
}

function is_worse(value, better)
{
    return better == "higher" ? value + 0 < 0.95 : value + 0 > 1.05
}

function slower(    m, c, id, line, contender)
{
    for (m = 1; m <= known["matches"]; m++) {
        id = known["matches", m]
        line = ""
        for (c = 1; c <= known[id, "contenders"]; c++) {
            contender = known[id, "contenders", c]
            if (((id, contender) in ratio) && is_worse(ratio[id, contender], better[id]))
                line = line (line == "" ? ": " : ", ") contender " " ratio[id, contender]
        }
        if (line != "")
            print "- " row_of[id] ", " shown[id] line
    }
}

FNR == NR {
    id = text("row") SUBSEP text("workload") SUBSEP text("placement")
    remember(text("row") SUBSEP "matches", id)
    remember("matches", id)
    row_of[id] = text("row")
    shown[id] = text("workload") "; " text("placement")
    if (text("peer") != "") {
        ratio[id, text("peer")] = sprintf("%.2f", number("ratio"))
        better[id] = text("better")
        next
    }
    remember(id SUBSEP "metrics", text("metric"))
    remember(id SUBSEP "contenders", text("contender"))
    unit[id, text("metric")] = text("unit")
    value[id, text("contender"), text("metric")] = rounded(number("value"))
    spread[id, text("contender"), text("metric")] = rounded(number("min")) " to " rounded(number("max"))
    next
}

/^<!-- end -->$/ { inside = 0 }
!inside { print }
/^<!-- [A-Z][0-9]+ -->$/ && known[$2, "matches"] > 0 {
    inside = 1
    print ""
    table($2)
    print ""
}
/^<!-- slower -->$/ && known["matches"] > 0 {
    inside = 1
    print ""
    slower()
    print ""
}
/^<!-- machine -->$/ && machine != "" {
    inside = 1
    print machine
}
END {
    if (inside) {
        print "a table has no end" >"/dev/stderr"
        exit 1
    }
}
