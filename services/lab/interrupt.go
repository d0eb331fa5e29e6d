package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// words of AWS about an instance, by --kind: the detail-type and its detail.
var words = map[string]struct {
	detailType string
	detail     map[string]any
}{
	"terminate": {"EC2 Spot Instance Interruption Warning", map[string]any{"instance-action": "terminate"}},
	"stop":      {"EC2 Spot Instance Interruption Warning", map[string]any{"instance-action": "stop"}},
	"hibernate": {"EC2 Spot Instance Interruption Warning", map[string]any{"instance-action": "hibernate"}},
	"rebalance": {"EC2 Instance Rebalance Recommendation", map[string]any{}},
	"state":     {"EC2 Instance State-change Notification", map[string]any{"state": "shutting-down"}},
}

// interrupt says what AWS says when it takes an instance back. The instance stays
// until central ends it: only the word is AWS's here.
func interrupt(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("interrupt", flag.ContinueOnError)
	dir := fs.String("dir", "", "the lab's folder, where lab.json is")
	name := fs.String("node", "", "the node that is taken (default: the Spot node with the most pods)")
	kind := fs.String("kind", "terminate", "what AWS says: terminate, stop, hibernate, rebalance or state")
	if err := fs.Parse(args); err != nil {
		return err
	}
	word, ok := words[*kind]
	if !ok {
		return fmt.Errorf("--kind %q is none of terminate, stop, hibernate, rebalance, state", *kind)
	}
	s := &stage.Stage{}
	raw, err := os.ReadFile(filepath.Join(*dir, "lab.json"))
	if err != nil {
		return fmt.Errorf("finding the lab (--dir): %w", err)
	}
	if err := json.Unmarshal(raw, &s.Lab); err != nil {
		return fmt.Errorf("reading lab.json: %w", err)
	}
	node, pods, err := victim(ctx, s, *name)
	if err != nil {
		return err
	}
	instance := node.Spec.ProviderID[strings.LastIndex(node.Spec.ProviderID, "/")+1:]
	word.detail["instance-id"] = instance
	body, err := s.Message(word.detailType, word.detail)
	if err != nil {
		return err
	}
	if err := s.Send(ctx, body); err != nil {
		return err
	}
	_, err = fmt.Printf("told the queue %q of %s, which is node %s with %d pods\n", word.detailType, instance, node.Name, pods)
	return err
}

// victim is the node of that name, or the busiest Spot node that is not cordoned.
func victim(ctx context.Context, s *stage.Stage, name string) (*corev1.Node, int, error) {
	client, err := s.Kubernetes()
	if err != nil {
		return nil, 0, fmt.Errorf("reaching the lab's cluster: %w", err)
	}
	busy, err := podsByNode(ctx, client)
	if err != nil {
		return nil, 0, err
	}
	if name != "" {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		return node, busy[name], err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "eks.amazonaws.com/capacityType=SPOT"})
	if err != nil {
		return nil, 0, err
	}
	var best *corev1.Node
	for i := range nodes.Items {
		if node := &nodes.Items[i]; !node.Spec.Unschedulable && (best == nil || busy[node.Name] > busy[best.Name]) {
			best = node
		}
	}
	if best == nil {
		return nil, 0, fmt.Errorf("no Spot node is in use: name one with --node")
	}
	return best, busy[best.Name], nil
}

func podsByNode(ctx context.Context, client kubernetes.Interface) (map[string]int, error) {
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	count := map[string]int{}
	for i := range pods.Items {
		if owner := metav1.GetControllerOf(&pods.Items[i]); owner == nil || owner.Kind != "DaemonSet" {
			count[pods.Items[i].Spec.NodeName]++
		}
	}
	return count, nil
}
