package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/cloudoptim/cloudoptim/pkg/aemm"
	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

const (
	// noticeRounds are how often a notice is given, each to another node.
	noticeRounds = 5
	imdsWithin   = 10 * time.Minute
	// imdsTarget is in seconds.
	imdsTarget = 6
	// noticeAfter leaves the mock and the agent the time to start.
	noticeAfter = 8 * time.Second
)

// imds times what an agent does alone: central is dead, AWS's own mock of the
// metadata service gives notice, and the node is cordoned.
func (b *bench) imds(ctx context.Context) error {
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	ctx, cancel := context.WithTimeout(ctx, imdsWithin)
	defer cancel()
	s, err := stage.Up(ctx, stage.Options{
		Bin: filepath.Join(b.root, "bin"), Source: b.root, Dir: dir, LabArgs: []string{"--nodes", "10", "--pods", "40", "--seed", "3", "--spot", "0.8"},
		Say: func(format string, args ...any) { fmt.Printf(format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	defer s.Down()
	client, err := s.Kubernetes()
	if err != nil {
		return err
	}
	nodes, err := settledSpotNodes(ctx, s, noticeRounds)
	if err != nil {
		return err
	}
	s.Central.Kill()
	var took []time.Duration
	for _, node := range nodes {
		one, err := noticed(ctx, s, client, node)
		if err != nil {
			return fmt.Errorf("giving notice to %s: %w", node.InstanceID, err)
		}
		took = append(took, one)
	}
	b.note("imds.cordon_p50_s", percentile(took, 50).Seconds(), "s", nil, "")
	b.note("imds.cordon_s", percentile(took, 100).Seconds(), "s", atMost(imdsTarget), "")
	return nil
}

// noticed runs the agent on a node whose instance gets notice, and says how long
// after it the node was cordoned.
func noticed(ctx context.Context, s *stage.Stage, client kubernetes.Interface, node stage.Node) (time.Duration, error) {
	path, err := aemm.Path(ctx)
	if err != nil {
		return 0, err
	}
	dir := filepath.Join(s.Dir, "imds-"+node.InstanceID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	due := time.Now().Add(noticeAfter).UTC().Truncate(time.Second)
	endpoint, mock, err := aemm.Start(ctx, path, aemm.Config{
		Dir: dir, InstanceID: node.InstanceID, Args: []string{"spot", "--action=terminate", "--mock-trigger-time=" + due.Format(time.RFC3339)},
	})
	if err != nil {
		return 0, err
	}
	defer mock.Kill()
	s.Agent.Stop()
	s.AgentArgs = []string{"--agent.node_name=" + node.Name, "--agent.imds_endpoint=" + endpoint}
	if err := s.StartAgent(ctx); err != nil {
		return 0, err
	}
	eyes, err := watchNodes(ctx, client, []stage.Node{node})
	if err != nil {
		return 0, err
	}
	defer eyes.close()
	if now, err := client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{}); err != nil || now.Spec.Unschedulable {
		return 0, fmt.Errorf("node %s is cordoned already: %w", node.Name, err)
	}
	if err := eyes.await(ctx, cordoned); err != nil {
		return 0, err
	}
	return eyes.since(due, cordoned)[0], nil
}
