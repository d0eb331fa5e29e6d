package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	"github.com/cloudoptim/cloudoptim/pkg/run"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/collect"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/lead"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/link"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/notice"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/tasks"
)

// leaseName is in deploy/agent-rbac.yaml and deploy/agent-admission.yaml too.
const leaseName = "cloudoptim-agent"

// worker is everything that one agent of a cluster does and the others stand by for.
type worker struct {
	settings *settings
	id       string
	kube     *clients
	log      *slog.Logger
	policies *notice.Policies
	home     *home
	elector  *lead.Elector // nil: this agent stands for no election
	fence    fence
	ready    atomic.Bool
}

// fence says whether this agent may write to the cluster.
type fence interface {
	Held() bool
	Epoch() int64
}

func newWorker(s *settings, kube *clients, log *slog.Logger) (*worker, error) {
	id, err := s.agentID()
	if err != nil {
		return nil, fmt.Errorf("naming this agent: %w", err)
	}
	w := &worker{settings: s, id: id, kube: kube, log: log, fence: lead.Alone{}}
	w.policies = notice.OpenPolicies(filepath.Join(s.Agent.StateDir, "interruption-policy.json"), log)
	if w.home, err = newHome(s, kube.node, w.policies, log); err != nil {
		return nil, err
	}
	if !s.elects() {
		return w, nil
	}
	namespace, err := s.leaseNamespace()
	if err != nil {
		return nil, err
	}
	w.elector = lead.New(lead.Config{
		Client: kube.lease, Namespace: namespace, Name: leaseName, Identity: id,
		Abstains: w.home.abstains, Bulletin: w.policies, Log: log,
	})
	w.fence, w.home.elector, w.home.pod = w.elector, w.elector, types.NamespacedName{Namespace: namespace, Name: id}
	return w, nil
}

// run works, at once or as soon as and as long as the lease is ours. Losing the
// lease ends the process: a restart is the surest way to stop everything that
// only the leader may do. Giving it back does not, as the work has stopped then,
// and this node's notices must be watched to the end.
func (w *worker) run(ctx context.Context) error {
	if w.elector == nil {
		return w.work(ctx)
	}
	w.ready.Store(true) // standing by is what a standby should do
	for {
		err := w.elector.Run(ctx, w.work)
		if !errors.Is(err, lead.ErrYielded) || ctx.Err() != nil {
			return err
		}
	}
}

// work builds the rooms and runs them.
func (w *worker) work(ctx context.Context) error {
	unlock, err := lockState(w.settings.Agent.StateDir)
	if err != nil {
		return err
	}
	defer unlock()
	journal, records, err := tasks.OpenJournal(filepath.Join(w.settings.Agent.StateDir, "tasks"))
	if journal == nil {
		return err
	}
	if err != nil {
		w.log.Error("parts of the task journal were put aside", "error", err)
	}

	outbox := &link.Outbox{}
	cluster := collect.New(collect.Config{
		ClusterID: w.settings.Agent.ClusterID, Client: w.kube.watch, Usage: w.kube.usage, Outbox: outbox, Log: w.log,
	})
	if err := cluster.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	runner := tasks.New(tasks.Config{
		ClusterID: w.settings.Agent.ClusterID, Client: w.kube.drain, Journal: journal, Outbox: outbox, Log: w.log,
		Stop: w.policies.Stop(), Fence: w.fence, Drains: &drain.Executor{
			Client: w.kube.drain, Marks: w.kube.marks, View: cluster, Self: w.home.pod, Log: w.log,
		},
	}, records)
	runner.Adopt(cluster.Nodes())
	board := w.home.board(cluster, runner)
	w.ready.Store(true)
	rest, err := w.settings.rest()
	if err != nil {
		return err
	}
	line := link.New(link.Config{
		Dial: w.settings.dial, REST: rest, Outbox: outbox, Tasks: &door{Runner: runner, home: w.home, cluster: cluster},
		Inventory: cluster, Log: w.log, Hello: w.hello(), LeaderEpoch: w.fence.Epoch,
		Notices: board, Policy: w.policies, Stops: stops{kept: w.policies, tasks: runner},
	})
	return run.All(ctx,
		run.Named("collect", cluster.Run), run.Named("usage", cluster.RunUsage), run.Named("tasks", runner.Run), run.Named("link", line.Run),
		run.Named("notices", board.Run),
		run.Named("handover", func(ctx context.Context) error { return w.home.handOver(ctx, cluster) }))
}

// stops is where central's word about stops comes in: it is kept before it is obeyed.
type stops struct {
	kept  *notice.Policies
	tasks *tasks.Runner
}

// SetStop takes the stop that holds; nil: none does.
func (s stops) SetStop(stop *agentv1.SafetyStop) {
	s.kept.SetStop(stop)
	s.tasks.SetStop(stop)
}

func (w *worker) hello() *agentv1.Hello {
	return &agentv1.Hello{
		ClusterId: w.settings.Agent.ClusterID, AgentId: w.id, AgentEpoch: time.Now().UnixMilli(),
		Version: version(), KubernetesVersion: w.kubernetesVersion(), TaskTypes: tasks.Types(),
	}
}

func (w *worker) kubernetesVersion() string {
	v, err := w.kube.watch.Discovery().ServerVersion()
	if err != nil {
		return "" // only shown to people
	}
	return v.GitVersion
}

// lockState keeps two agents from remembering tasks in one folder.
func lockState(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the state folder: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("locking the state folder %s, which another agent may use: %w", dir, err)
	}
	return func() { _ = file.Close() }, nil
}
