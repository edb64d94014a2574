import type { z } from 'zod';

/** A NATS subject and the shape of what is said on it. */
export interface Topic<Message extends z.ZodType = z.ZodType> {
  readonly subject: string;
  readonly message: Message;
}

/** A subject that is asked and answered: request/reply over NATS. */
export interface Exchange<
  Message extends z.ZodType = z.ZodType,
  Reply extends z.ZodType = z.ZodType,
> extends Topic<Message> {
  readonly reply: Reply;
}

export function topic<Message extends z.ZodType>(subject: string, message: Message): Topic<Message> {
  return { subject, message };
}

export function exchange<Message extends z.ZodType, Reply extends z.ZodType>(
  subject: string,
  message: Message,
  reply: Reply,
): Exchange<Message, Reply> {
  return { subject, message, reply };
}
