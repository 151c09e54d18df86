"""A client of redis-py's Lock, in a process of its own.  What it is told and what it
answers stands in bench_redis.h."""
import sys
import time

QUEUE_NS = 20_000_000  # those of bench_redis.h
IDLE_NS = 50_000_000
LEASE_S = 30

now = time.monotonic_ns


def sleep_until(at):
    while now() < at:
        time.sleep(max(0, at - now()) / 1e9)


def pairs(lock, turns):
    slices = []
    for _ in range(16):
        begin = now()
        for _ in range(turns):
            lock.acquire()
            lock.release()
        slices.append((now() - begin) / turns)
    return [sorted(slices[1:])[7]]  # the first warms up


def crowd(lock, begin, end):
    in_time = count = 0
    going = True
    sleep_until(begin)
    while going:
        lock.acquire()
        lock.release()
        going = now() < end
        in_time += going
        count += 1
    return [in_time, count]


def give(lock, begin, period, spread, rounds):
    instants = []
    for i in range(rounds):
        at = begin + i * period
        sleep_until(at)
        lock.acquire()
        sleep_until(at + QUEUE_NS + IDLE_NS + spread * (i * 618034 % 1000000) // 1000000)
        instants.append(now())
        lock.release()
    return instants


def take(lock, begin, period, _spread, rounds):
    instants = []
    for i in range(rounds):
        sleep_until(begin + i * period + QUEUE_NS)
        lock.acquire()
        instants.append(now())
        lock.release()
    return instants


def main():
    _, work, address = sys.argv[1:]
    try:
        import redis
    except ImportError:
        sys.exit(1)
    if work == 'probe':
        print('installed')
        return
    where = {'unix_socket_path': address} if address[0] == '/' else {'port': int(address)}
    lock = redis.Redis(**where).lock('bench:redis-py', timeout=LEASE_S)
    lock.acquire()
    lock.release()
    print('ready', flush=True)
    for line in sys.stdin:
        answer = globals()[work](lock, *map(int, line.split()))
        print(*answer, flush=True)


main()
