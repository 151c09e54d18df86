/*
 * What parking_lot/lib.rs gives to C.
 */
#ifndef PARKING_LOT_H
#define PARKING_LOT_H

void *bench_parking_lot_create(void);
void bench_parking_lot_destroy(void *lock);
void bench_parking_lot_lock(void *lock);
void bench_parking_lot_unlock(void *lock);
void bench_parking_lot_pairs(void *lock, unsigned turns);
void bench_parking_lot_sections(void *lock, unsigned turns, void (*section)(void *context),
                                void *context);

void *bench_reentrant_create(void);
void bench_reentrant_destroy(void *lock);
void bench_reentrant_pairs(void *lock, unsigned turns);
void bench_reentrant_nested(void *lock, unsigned turns);

#endif
