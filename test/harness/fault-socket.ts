/** The fault link between two processes: one JSON object per line over a Unix socket. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Call, Done, FaultLink, FaultPlan, Order } from './faults.ts';

type Question =
  | { readonly id: number; readonly pid: number; readonly begin: Call }
  | { readonly id: number; readonly pid: number; readonly ended: Done & { readonly callId: number } };
interface Answer {
  readonly id: number;
  readonly began?: { readonly order: Order; readonly callId: number };
}

const send = (socket: Socket, message: Question | Answer): void => {
  if (!socket.destroyed) socket.write(`${JSON.stringify(message)}\n`);
};

/** Answers the workers of other processes out of the plan. */
export async function servePlan(plan: FaultPlan, socketFile: string): Promise<{ stop(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const answer = async (socket: Socket, question: Question): Promise<void> => {
    const { id } = question;
    const link = plan.link(question.pid);
    if ('begin' in question) return send(socket, { id, began: await link.begin(question.begin) });
    await link.ended(question.ended.callId, question.ended);
    send(socket, { id });
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    // A worker that is killed resets its connection; its end is seen by its exit.
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    const lines = createInterface({ input: socket }).on('error', () => undefined);
    lines.on('line', (line) => void answer(socket, JSON.parse(line) as Question));
  });
  server.listen(socketFile);
  await once(server, 'listening');
  return {
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** The link of this process to the plan of another one; without that other one this process has no reason to live. */
export async function connectToPlan(socketFile: string): Promise<FaultLink> {
  const socket = connect(socketFile);
  await once(socket, 'connect');
  const waiting = new Map<number, (answer: Answer) => void>();
  let lastId = 0;
  const lost = (): never => process.exit(1);
  socket.once('error', lost).once('close', lost);
  const lines = createInterface({ input: socket }).on('error', lost);
  lines.on('line', (line) => {
    const answer = JSON.parse(line) as Answer;
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  });
  const ask = (about: { begin: Call } | { ended: Done & { callId: number } }): Promise<Answer> => {
    const id = (lastId += 1);
    return new Promise((resolve) => {
      waiting.set(id, resolve);
      send(socket, { id, pid: process.pid, ...about });
    });
  };
  return {
    begin: async (call) => {
      const { began } = await ask({ begin: call });
      if (began === undefined) throw new Error('the plan gave no order');
      return began;
    },
    ended: async (callId, done) => void (await ask({ ended: { callId, ...done } })),
  };
}
