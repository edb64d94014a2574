/** A deployment as it stands, with what runs of it. */
export interface DeploymentState {
  reason: 'DEPLOYING' | 'CANCELING';
  strategy: 'rolling' | 'canary';
  max_in_flight: number;
  web_instances: number;
  /** From 1; beyond the last step of a canary it goes on to the end. */
  canary_step: number;
  canary_steps: readonly { instance_weight: number }[];
  original_web_instances: number;
  new_process: WebProcess;
  /** Oldest first. */
  old_processes: readonly WebProcess[];
  /** How long it has been cancelling. */
  canceling_for_s: number;
}
export interface WebProcess {
  guid: string;
  instances: number;
  /** Instances that run and are routable. */
  healthy: number;
}

export type DeploymentStep =
  | { do: 'scale'; process_guid: string; instances: number }
  | { do: 'pause' }
  /** The new process takes over; the old ones go. */
  | { do: 'finish' }
  /** The one process stays; all others go. */
  | { do: 'revert'; to: string };

/** A cancelled deployment waits so long for the old version to run again before the new one goes. */
const REVERT_PATIENCE_S = 60;

/** How many new instances the step that a deployment is in leads to. */
export function targetOf(
  state: Pick<DeploymentState, 'strategy' | 'web_instances' | 'canary_step' | 'canary_steps'>,
): number {
  const { strategy, web_instances, canary_step, canary_steps } = state;
  if (strategy === 'rolling' || canary_step > Math.max(1, canary_steps.length)) return web_instances;
  const weight = canary_steps[canary_step - 1]?.instance_weight;
  if (weight === undefined) return Math.min(1, web_instances);
  return Math.min(web_instances, Math.max(1, Math.floor((web_instances * weight) / 100)));
}

/**
 * What to do next. Old instances go only once as many new ones serve; nothing happens while a new one is on its way, so that
 * no more than `max_in_flight` ever are.
 */
export function planDeployment(state: DeploymentState): DeploymentStep[] {
  if (state.reason === 'CANCELING') return planCancel(state);
  const { new_process: fresh, old_processes, max_in_flight, web_instances } = state;
  if (fresh.healthy < fresh.instances) return [];
  const target = targetOf(state);
  const isCanary = state.strategy === 'canary' && target < web_instances;
  const isPausing = state.strategy === 'canary' && state.canary_step <= Math.max(1, state.canary_steps.length);
  if (fresh.instances >= target) return isPausing ? [{ do: 'pause' }] : [{ do: 'finish' }];
  const steps: DeploymentStep[] = [];
  const instances = Math.min(target, fresh.instances + max_in_flight);
  // A canary without steps is one more instance, beside all that serve.
  if (!isCanary || state.canary_steps.length > 0) {
    steps.push(...shrink(old_processes, Math.max(1, web_instances - fresh.instances)));
  }
  steps.push({ do: 'scale', process_guid: fresh.guid, instances });
  return steps;
}

/** Takes instances away, from the oldest first, until so many are left. */
function shrink(processes: readonly WebProcess[], left: number): DeploymentStep[] {
  let excess = processes.reduce((sum, process) => sum + process.instances, 0) - left;
  const steps: DeploymentStep[] = [];
  for (const process of processes) {
    const taken = Math.min(process.instances, Math.max(0, excess));
    if (taken === 0) continue;
    excess -= taken;
    steps.push({ do: 'scale', process_guid: process.guid, instances: process.instances - taken });
  }
  return steps;
}

function planCancel(state: DeploymentState): DeploymentStep[] {
  const prior = state.old_processes.at(-1);
  if (!prior) return [{ do: 'finish' }];
  const wanted = state.original_web_instances;
  const steps: DeploymentStep[] = [];
  if (prior.instances !== wanted) steps.push({ do: 'scale', process_guid: prior.guid, instances: wanted });
  if (prior.healthy >= wanted || state.canceling_for_s > REVERT_PATIENCE_S)
    steps.push({ do: 'revert', to: prior.guid });
  return steps;
}
