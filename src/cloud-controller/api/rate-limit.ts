import type { FastifyInstance, FastifyRequest } from 'fastify';
import { CfError } from '#contracts/cf-errors.ts';
import type { Clock } from '#kernel/clock.ts';

export interface RateLimits {
  user_per_hour: number;
  unauthenticated_per_hour: number;
}

const HOUR_MS = 3_600_000;

/**
 * Counts each user's requests, or each address's where there is no token, in windows of an hour that begin with the first
 * one. Each cloud controller counts its own, as Cloud Foundry's do. Admins are not limited.
 */
export class RateLimiter {
  readonly #limits: RateLimits;
  readonly #clock: Clock;
  readonly #windows = new Map<string, { requests: number; resets_at_ms: number }>();

  constructor(limits: RateLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Counts one request. `resets_at_s` is in seconds since the epoch. */
  count(who: { user: string } | { address: string }): {
    limit: number;
    remaining: number;
    resets_at_s: number;
    isOver: boolean;
  } {
    const isUser = 'user' in who;
    const limit = isUser ? this.#limits.user_per_hour : this.#limits.unauthenticated_per_hour;
    const key = isUser ? `user ${who.user}` : `address ${who.address}`;
    const now = this.#clock.now();
    let window = this.#windows.get(key);
    if (!window || window.resets_at_ms <= now) {
      this.#forget(now);
      window = { requests: 0, resets_at_ms: now + HOUR_MS };
      this.#windows.set(key, window);
    }
    window.requests += 1;
    return {
      limit,
      remaining: Math.max(0, limit - window.requests),
      resets_at_s: Math.ceil(window.resets_at_ms / 1000),
      isOver: window.requests > limit,
    };
  }

  /** Windows that are over; so that the map holds no more than an hour's callers. */
  #forget(now: number): void {
    for (const [key, window] of this.#windows) {
      // In the order of their beginnings, so the first that is not over ends the search.
      if (window.resets_at_ms > now) return;
      this.#windows.delete(key);
    }
  }
}

/** Refuses who asks too often; what is open to all at the root is not counted. */
export function useRateLimit(server: FastifyInstance, limits: RateLimits, clock: Clock): void {
  const limiter = new RateLimiter(limits, clock);
  server.addHook('preHandler', async (request, reply) => {
    if (!request.url.startsWith('/v3/') || isAdmin(request)) return;
    const who = request.caller ? { user: request.caller.guid } : { address: request.ip };
    const { limit, remaining, resets_at_s, isOver } = limiter.count(who);
    reply.header('X-RateLimit-Limit', limit);
    reply.header('X-RateLimit-Remaining', remaining);
    reply.header('X-RateLimit-Reset', resets_at_s);
    if (isOver) throw new CfError('RateLimitExceeded', 'Rate Limit Exceeded');
  });
}

function isAdmin(request: FastifyRequest): boolean {
  return request.caller?.isAdmin ?? false;
}
