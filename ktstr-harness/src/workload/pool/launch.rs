//! From groups to processes.

use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, getpid};

use super::{Cells, Launch, Member, WorkerGroup, WorkerPool};
use crate::workload::channel::Channel;
use crate::workload::kinds::{self, Site};
use crate::workload::os::{self, Shared};
use crate::workload::worker::{self, Job};
use crate::workload::{WorkTypeError, WorkloadError};

impl WorkerPool {
    /// Forks all workers. Also returns the end of the pipe that each of them holds.
    pub(super) fn launch(launch: &Launch<'_>) -> Result<(Self, OwnedFd), WorkloadError> {
        for (index, group) in launch.groups.iter().enumerate() {
            group.work.validate_workers(group.workers)?;
            let has_storm = launch.storms.get(index).is_some_and(Option::is_some);
            if group.work.moves_cgroups() && !has_storm {
                let work = group.work.name();
                return Err(WorkTypeError::NoCgroup { work }.into());
            }
        }
        let workers = launch.groups.iter().map(|group| group.workers).sum();
        if workers > Self::MAX_WORKERS {
            return Err(WorkloadError::TooMany(workers));
        }
        let (mut pool, held) = Self::empty(launch, workers)?;
        for (index, group) in launch.groups.iter().enumerate() {
            if group.threads {
                pool.fork_threads(launch, index, group)?;
            } else {
                pool.fork_processes(launch, index, group)?;
            }
        }
        Ok((pool, held))
    }

    /// A pool with room for so many workers, and the other end of its pipe.
    fn empty(launch: &Launch<'_>, workers: usize) -> Result<(Self, OwnedFd), WorkloadError> {
        let memory = |source| WorkloadError::Resources {
            what: "shared memory",
            source,
        };
        let pipe = pipe_with(PipeFlags::CLOEXEC);
        let (gone, held) = pipe.map_err(|source| WorkloadError::Resources {
            what: "pipe",
            source: source.into(),
        })?;
        let steps = launch.steps;
        let pool = Self {
            members: Vec::with_capacity(workers),
            groups: launch.groups.len(),
            cpus: launch.cpus,
            gone,
            control: Shared::new(1).map_err(memory)?,
            team_cells: Shared::new(workers).map_err(memory)?,
            stops: Shared::new(workers).map_err(memory)?,
            slots: Shared::new(workers).map_err(memory)?,
            step_slots: Shared::new(workers.saturating_mul(steps)).map_err(memory)?,
            steps,
        };
        Ok((pool, held))
    }

    fn fork_processes(
        &mut self,
        launch: &Launch<'_>,
        index: usize,
        group: &WorkerGroup,
    ) -> Result<(), WorkloadError> {
        let (first, parent) = (self.members.len(), getpid());
        let team = group.work.team(group.workers);
        // Those of one team share it; the parent has but one at a time.
        let mut channel = None;
        for worker in 0..group.workers {
            if worker % team == 0 {
                channel = connect(group)?;
            }
            let job = self.job(launch, index, first, worker, channel.as_ref(), parent);
            let pid = os::fork(|| worker::run(&job)).map_err(|source| WorkloadError::Fork {
                worker: first + worker,
                workers: self.slots.len(),
                source,
            })?;
            self.members
                .push(Member::process(index, worker, group.work, pid));
        }
        Ok(())
    }

    fn fork_threads(
        &mut self,
        launch: &Launch<'_>,
        index: usize,
        group: &WorkerGroup,
    ) -> Result<(), WorkloadError> {
        let (first, parent) = (self.members.len(), getpid());
        let team = group.work.team(group.workers);
        let channels: Vec<Option<Channel>> = (0..group.workers / team)
            .map(|_| connect(group))
            .collect::<Result<_, _>>()?;
        let job = |worker: usize| {
            let channel = channels[worker / team].as_ref();
            self.job(launch, index, first, worker, channel, parent)
        };
        let jobs: Vec<Job<'_>> = (0..group.workers).map(job).collect();
        let forked = os::fork(|| worker::run_as_threads(&jobs));
        let pid = forked.map_err(|source| WorkloadError::Fork {
            worker: first,
            workers: self.slots.len(),
            source,
        })?;
        for worker in 0..group.workers {
            self.members
                .push(Member::thread(index, worker, group.work, pid, first));
        }
        Ok(())
    }

    /// What worker `worker` of a group does, whose first one is `first` of the pool.
    fn job<'a>(
        &'a self,
        launch: &'a Launch<'_>,
        index: usize,
        first: usize,
        worker: usize,
        channel: Option<&'a Channel>,
        parent: Pid,
    ) -> Job<'a> {
        let group = &launch.groups[index];
        let number = first + worker;
        let team = group.work.team(group.workers);
        let team_first = number - worker % team;
        Job {
            work: group.work,
            seed: number as u64,
            memory: group.memory,
            site: Site {
                worker,
                workers: group.workers,
                place: worker % team,
                cells: &self.team_cells[team_first..team_first + team],
                channel,
                storm: launch.storms.get(index).and_then(Option::as_ref),
                cpus: launch.cpus,
            },
            cells: Cells {
                control: &self.control[0],
                stop: &self.stops[number],
                whole: &self.slots[number],
                steps: self.steps_of(number),
            },
            parent,
        }
    }
}

/// The connection of the next team.
fn connect(group: &WorkerGroup) -> Result<Option<Channel>, WorkloadError> {
    let kind = kinds::channel(&group.work);
    let made = kind.map(|kind| {
        Channel::new(kind).map_err(|source| WorkloadError::Resources {
            what: kind.name(),
            source,
        })
    });
    made.transpose()
}
