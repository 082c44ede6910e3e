import { ControlPlane, until } from '/work/main/test/nodes/control-plane.ts';
import { newTenant, agentEnvironment, startAgentProcess } from '/work/main/test/nodes/agent-process.ts';
const plane = await ControlPlane.start();
const agent = startAgentProcess({ ...agentEnvironment(plane, plane.directory + '/n'), AGENT_GPU_COUNT: '8' });
await until('up', () => plane.polls.length > 0);
const t: number[] = [], u: number[] = [];
for (let i = 0; i < 300; i++) {
  const x = newTenant({ gpu_slots: [0,1,2,3,4,5,6,7] });
  let b = performance.now();
  const task = plane.queue('node.allocation_prepare', x);
  while (task.state !== 'done') await new Promise((r) => setTimeout(r,0));
  t.push(performance.now() - b);
  b = performance.now();
  const v = plane.queue('node.gpu_scrub', { allocation_id: x.allocation_id, mode: 'reset', reason: 'x' });
  while (v.state !== 'done') await new Promise((r) => setTimeout(r,0));
  u.push(performance.now() - b);
  const c = plane.queue('node.allocation_cleanup', { allocation_id: x.allocation_id, username: x.username, uid: x.uid, reason: 'x' });
  while (c.state !== 'done') await new Promise((r) => setTimeout(r,0));
  const w = plane.queue('node.validate_clean', { allocation_id: x.allocation_id, checks: ['paths','gpu_processes'], reason: 'x' });
  while (w.state !== 'done') await new Promise((r) => setTimeout(r,0));
}
const q = (a: number[]) => a.sort((x, y) => x - y) && [a[150], a[297]];
console.log('prepare', q(t), 'scrub', q(u));
for (const k of ['allocation_prepare','gpu_scrub','allocation_cleanup','validate_clean']) {
  const d = agent.lines.filter(l => l.includes('task_ended') && l.includes(k)).map(l => JSON.parse(l).duration_ms);
  console.log(k, 'work', q(d));
}
await agent.end('SIGTERM'); await plane.close();
