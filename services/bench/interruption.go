package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// Bounds of the targets, in seconds.
const (
	cordonTarget = 2
	burstTarget  = 15
	// spotNotice is how long AWS lets a spot instance live after its warning.
	spotNotice = 120
)

const (
	interruptionWithin = 25 * time.Minute
	burstMessages      = 15_000
	// One of so many messages is about an instance of ours.
	burstOurs = 10
	// burstNodes of ours are warned in the burst; the other messages of ours repeat.
	burstNodes = 40
)

// interruption warns 1, 50 and 200 spot nodes of one cluster at once. It looks from
// outside: at Kubernetes and SQS.
func (b *bench) interruption(ctx context.Context) error {
	return b.onSpot(ctx, func(ctx context.Context, s *stage.Stage, client kubernetes.Interface) error {
		if err := b.bareCordons(ctx, client); err != nil {
			return err
		}
		for _, n := range []int{1, 50, 200} {
			if err := b.wave(ctx, s, client, n); err != nil {
				return fmt.Errorf("%d interruptions: %w", n, err)
			}
		}
		return nil
	})
}

// regional puts a region's burst into the queue of such a cluster.
func (b *bench) regional(ctx context.Context) error { return b.onSpot(ctx, b.burst) }

// onSpot has a cluster of spot nodes on the stage, whose queue central listens to.
func (b *bench) onSpot(ctx context.Context, measure func(context.Context, *stage.Stage, kubernetes.Interface) error) error {
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	ctx, cancel := context.WithTimeout(ctx, interruptionWithin)
	defer cancel()
	s, err := stage.Up(ctx, stage.Options{
		Bin: filepath.Join(b.root, "bin"), Source: b.root, Dir: dir,
		LabArgs: []string{"--nodes", "320", "--pods", "900", "--seed", "1", "--spot", "0.95", "--fill", "0.3"},
		Say:     func(format string, args ...any) { fmt.Printf(format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	defer s.Down()
	client, err := s.Kubernetes()
	if err != nil {
		return err
	}
	// Central listens to a queue some seconds after it was named: not a part of any wave.
	hello, err := s.Message("EC2 Instance State-change Notification", map[string]any{"instance-id": "i-0bad0000000000000", "state": "terminated"})
	if err != nil {
		return err
	}
	if err := errors.Join(s.Send(ctx, hello), emptyQueue(ctx, s)); err != nil {
		return err
	}
	return measure(ctx, s, client)
}

// wave warns n nodes at once and notes how long each took.
func (b *bench) wave(ctx context.Context, s *stage.Stage, client kubernetes.Interface, n int) error {
	victims, err := settledSpotNodes(ctx, s, n)
	if err != nil {
		return err
	}
	eyes, err := watchNodes(ctx, client, victims)
	if err != nil {
		return err
	}
	defer eyes.close()
	if err := s.Warn(ctx, instanceIDs(victims)...); err != nil {
		return err
	}
	began := time.Now() // the last message is in the queue
	if err := eyes.await(ctx, emptied); err != nil {
		return err
	}
	for _, m := range []struct {
		moment moment
		target *float64
	}{{cordoned, atMost(cordonTarget)}, {firstEviction, nil}, {emptied, atMost(spotNotice)}} {
		took := eyes.since(began, m.moment)
		against := ""
		if m.moment == cordoned && n == 200 {
			against = "interruption.bare_cordon_200_s"
		}
		b.note(fmt.Sprintf("interruption.%s_p50_s.%d", m.moment, n), percentile(took, 50).Seconds(), "s", nil, "")
		b.note(fmt.Sprintf("interruption.%s_p95_s.%d", m.moment, n), percentile(took, 95).Seconds(), "s", nil, "")
		b.note(fmt.Sprintf("interruption.%s_p99_s.%d", m.moment, n), percentile(took, 99).Seconds(), "s", m.target, against)
		b.note(fmt.Sprintf("interruption.%s_max_s.%d", m.moment, n), percentile(took, 100).Seconds(), "s", nil, "")
	}
	return nil
}

// burst has the messages of a whole region come at once, and times how long it takes
// until the queue is empty.
func (b *bench) burst(ctx context.Context, s *stage.Stage, client kubernetes.Interface) error {
	victims, err := settledSpotNodes(ctx, s, burstNodes)
	if err != nil {
		return err
	}
	bodies, err := regionalBurst(s, victims)
	if err != nil {
		return err
	}
	eyes, err := watchNodes(ctx, client, victims)
	if err != nil {
		return err
	}
	defer eyes.close()
	// Frozen, so that all are there before the first is taken.
	if err := s.Central.Freeze(); err != nil {
		return fmt.Errorf("freezing central: %w", err)
	}
	filled := s.Send(ctx, bodies...)
	began := time.Now()
	if err := errors.Join(filled, s.Central.Thaw()); err != nil {
		return fmt.Errorf("filling the queue: %w", err)
	}
	if err := emptyQueue(ctx, s); err != nil {
		return err
	}
	b.note("interruption.burst_15000_s", time.Since(began).Seconds(), "s", atMost(burstTarget), "interruption.bare_queue_15000_s")
	if err := eyes.await(ctx, emptied); err != nil {
		return err
	}
	b.note("interruption.burst_cordoned_max_s", percentile(eyes.since(began, cordoned), 100).Seconds(), "s", nil, "")
	b.note("interruption.burst_emptied_max_s", percentile(eyes.since(began, emptied), 100).Seconds(), "s", atMost(spotNotice), "")
	return b.bareQueue(ctx, s, bodies)
}

// regionalBurst is what a queue of a whole region hears: one of ten messages is
// about us, the others about instances that nobody here knows.
func regionalBurst(s *stage.Stage, victims []stage.Node) ([]string, error) {
	bodies := make([]string, 0, burstMessages)
	for i := range burstMessages {
		instance := fmt.Sprintf("i-%017x", 0xbad000000+i)
		if i%burstOurs == 0 {
			instance = victims[i/burstOurs%len(victims)].InstanceID
		}
		body, err := s.Message("EC2 Spot Instance Interruption Warning", map[string]any{"instance-id": instance, "instance-action": "terminate"})
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}

func emptyQueue(ctx context.Context, s *stage.Stage) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting, flying, err := s.Queued(ctx)
		if err == nil && waiting+flying == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for an empty queue: %d wait, %d in flight: %w", waiting, flying, ctx.Err())
		case <-tick.C:
		}
	}
}

// settledSpotNodes waits until every pod runs and central knows n ready spot nodes.
func settledSpotNodes(ctx context.Context, s *stage.Stage, n int) ([]stage.Node, error) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		state, err := s.State(ctx)
		spot := slices.DeleteFunc(state.Nodes, func(node stage.Node) bool { return node.NodeType != "spot" || !node.Ready || node.Unschedulable })
		if err == nil && state.PendingPods == 0 && len(spot) >= n {
			return spot[:n], nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %d spot nodes: there are %d, %d pods pending: %w", n, len(spot), state.PendingPods, ctx.Err())
		case <-tick.C:
		}
	}
}

func instanceIDs(nodes []stage.Node) []string {
	ids := make([]string, 0, len(nodes))
	for _, node := range nodes {
		ids = append(ids, node.InstanceID)
	}
	return ids
}
