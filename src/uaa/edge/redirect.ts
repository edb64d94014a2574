import type { FastifyReply } from 'fastify';

/** 302, as the cf CLI and OAuth clients expect. */
export async function redirect(reply: FastifyReply, location: string): Promise<FastifyReply> {
  return await reply.header('Cache-Control', 'no-store').redirect(location, 302);
}
