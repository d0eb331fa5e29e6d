package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	"github.com/cloudoptim/cloudoptim/pkg/run"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/collect"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/link"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/tasks"
)

// leaseName is in deploy/agent-rbac.yaml too.
const leaseName = "cloudoptim-agent"

// worker is everything that one agent of a cluster does and the others stand by for.
type worker struct {
	settings *settings
	kube     *clients
	log      *slog.Logger
	ready    atomic.Bool
}

// run works, at once or as soon as and as long as the lease is ours.
func (w *worker) run(ctx context.Context) error {
	if !w.settings.elects() {
		return w.work(ctx)
	}
	w.ready.Store(true) // standing by is what a standby should do
	return w.lead(ctx)
}

// lead campaigns for the lease. The lease is given back only after the work has
// stopped, so two agents never evict at once.
func (w *worker) lead(ctx context.Context) error {
	identity, err := w.settings.agentID()
	if err != nil {
		return fmt.Errorf("naming this agent: %w", err)
	}
	namespace, err := w.settings.leaseNamespace()
	if err != nil {
		return err
	}
	campaign, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var leading atomic.Bool
	defer context.AfterFunc(ctx, func() {
		if !leading.Load() {
			end()
		}
	})()
	result := make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Name: leaseName, Namespace: namespace},
			Client:    w.kube.lease.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		},
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ReleaseOnCancel: true, Name: leaseName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(lease context.Context) {
				leading.Store(true)
				working, stop := context.WithCancel(lease)
				defer stop()
				defer context.AfterFunc(ctx, stop)()
				result <- w.work(working)
				end()
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("standing for election: %w", err)
	}
	elector.Run(campaign)
	if !leading.Load() {
		return nil // told to stop while standing by
	}
	if err := <-result; err != nil || ctx.Err() != nil {
		return err
	}
	return errLeadershipLost
}

// work builds the rooms and runs them.
func (w *worker) work(ctx context.Context) error {
	id, err := w.settings.agentID()
	if err != nil {
		return fmt.Errorf("naming this agent: %w", err)
	}
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
		ClusterID: w.settings.Agent.ClusterID, Client: w.kube.watch, Outbox: outbox, Log: w.log,
	})
	if err := cluster.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	runner := tasks.New(tasks.Config{
		ClusterID: w.settings.Agent.ClusterID, Client: w.kube.drain, Journal: journal, Outbox: outbox, Log: w.log,
		Drains: &drain.Executor{Client: w.kube.drain, View: cluster, Log: w.log},
	}, records)
	runner.Adopt(cluster.Nodes())
	w.ready.Store(true)
	line := link.New(link.Config{
		Dial: w.settings.dial, Outbox: outbox, Tasks: runner, Inventory: cluster, Log: w.log,
		Hello: &agentv1.Hello{
			ClusterId: w.settings.Agent.ClusterID, AgentId: id, AgentEpoch: time.Now().UnixMilli(),
			Version: version(), KubernetesVersion: w.kubernetesVersion(), TaskTypes: tasks.Types(),
		},
	})
	return run.All(ctx,
		run.Named("collect", cluster.Run), run.Named("tasks", runner.Run), run.Named("link", line.Run))
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
