// A client of the locks that people get from npm, in a process of its own.  What it
// is told and what it answers stands in bench_redis.h.
'use strict';
const readline = require('readline');

// Those of bench_redis.h.
const QUEUE_NS = 20_000_000n;
const IDLE_NS = 50_000_000n;
const LEASE_MS = 30000;

const [kind, work, address] = process.argv.slice(2);
const now = () => process.hrtime.bigint();

async function sleepUntil(at) {
  while (now() < at) {
    await new Promise((resume) => setTimeout(resume, Math.max(0, Number(at - now()) / 1e6)));
  }
}

// Each gives a function that acquires, and one that releases.
const locks = {
  redlock(redis) {
    const Redlock = require('redlock');
    // As it comes, but that it goes on trying.
    const redlock = new Redlock([redis], { retryCount: -1 });
    let held;
    return {
      acquire: async () => { held = await redlock.lock('bench:redlock', LEASE_MS); },
      release: () => held.unlock(),
    };
  },
  'redis-semaphore'(redis) {
    const { Mutex } = require('redis-semaphore');
    const mutex = new Mutex(redis, 'bench', { lockTimeout: LEASE_MS, acquireTimeout: 600000 });
    return { acquire: () => mutex.acquire(), release: () => mutex.release() };
  },
};

async function pairs(lock, turns) {
  const slices = [];
  for (let slice = 0; slice < 16; slice++) {
    const begin = now();
    for (let i = 0; i < turns; i++) {
      await lock.acquire();
      await lock.release();
    }
    slices.push(Number(now() - begin) / Number(turns));
  }
  // The first warms up.
  return [slices.slice(1).sort((a, b) => a - b)[7]];
}

async function crowd(lock, begin, end) {
  let inTime = 0, all = 0, going = true;
  await sleepUntil(begin);
  while (going) {
    await lock.acquire();
    await lock.release();
    going = now() < end;
    inTime += going;
    all++;
  }
  return [inTime, all];
}

async function give(lock, begin, period, spread, rounds) {
  const instants = [];
  for (let round = 0n; round < rounds; round++, begin += period) {
    await sleepUntil(begin);
    await lock.acquire();
    await sleepUntil(begin + QUEUE_NS + IDLE_NS + spread * (round * 618034n % 1000000n) / 1000000n);
    instants.push(now());
    await lock.release();
  }
  return instants;
}

async function take(lock, begin, period, spread, rounds) {
  const instants = [];
  for (let round = 0n; round < rounds; round++, begin += period) {
    await sleepUntil(begin + QUEUE_NS);
    await lock.acquire();
    instants.push(now());
    await lock.release();
  }
  return instants;
}

const works = { pairs, crowd, give, take };

async function main() {
  const Redis = require('ioredis');
  if (work === 'probe') {
    require(kind);
    console.log('installed');
    return;
  }
  const redis = new Redis(address.startsWith('/') ? address : Number(address));
  const lock = locks[kind](redis);
  await lock.acquire();
  await lock.release();
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const answer = await works[work](lock, ...line.split(' ').map(BigInt));
    console.log(answer.join(' '));
  }
  redis.disconnect();
}

main().catch((error) => {
  if (work !== 'probe') console.error(error.message);
  process.exit(1);
});
