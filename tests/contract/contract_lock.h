/*
 * The parts of the lock's contract.  Each returns how many of its tests failed.
 */
#ifndef CONTRACT_LOCK_H
#define CONTRACT_LOCK_H

int contract_lock_arguments(void);
int contract_lock_lease(void);
int contract_lock_wait(void);
int contract_lock_space(void);
int contract_lock_who(void);
int contract_lock_ways(void);
int contract_lock_future(void);
int contract_lock_watch(void);
int contract_lock_give(void);
int contract_lock_deadlock(void);

#endif
