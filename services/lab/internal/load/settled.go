package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/dump"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/progress"
)

// until asks again until it is done; what is still missing goes into the error
// when time is up.
func until(ctx context.Context, check func(context.Context) (done bool, missing string, err error)) error {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		done, missing, err := check(ctx)
		if done {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), errors.New(missing))
		case <-tick.C:
		}
	}
}

func (l *Loader) nodesReady(ctx context.Context) (bool, string, error) {
	list, err := l.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, "", err
	}
	ready := 0
	for i := range list.Items {
		if isReady(&list.Items[i]) {
			ready++
		}
	}
	return ready >= len(l.Copy.Nodes), fmt.Sprintf("%d of %d nodes ready", ready, len(l.Copy.Nodes)), nil
}

func isReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podsRunning counts a pod that the scheduler has turned down as settled: a
// real cluster has such pods too.
func (l *Loader) podsRunning(ctx context.Context) (bool, string, error) {
	list, err := l.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, "", err
	}
	running, turnedDown := 0, 0
	for i := range list.Items {
		switch p := &list.Items[i]; {
		case p.Status.Phase == corev1.PodRunning:
			running++
		case unschedulable(p):
			turnedDown++
		}
	}
	done := running+turnedDown == len(list.Items)
	if done && turnedDown > 0 {
		progress.Say("note: %d pods fit on no node", turnedDown)
	}
	return done, fmt.Sprintf("%d of %d pods running", running, len(list.Items)), nil
}

func unschedulable(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return true
		}
	}
	return false
}

// adopted waits until each pod that is to have a controller has it.
func (l *Loader) adopted(ctx context.Context) (bool, string, error) {
	list, err := l.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: dump.LabelOwner})
	if err != nil {
		return false, "", err
	}
	orphans := 0
	for i := range list.Items {
		if metav1.GetControllerOf(&list.Items[i]) == nil {
			orphans++
		}
	}
	return orphans == 0, fmt.Sprintf("%d pods still without a controller", orphans), nil
}

func (l *Loader) daemonsMade(ctx context.Context) (bool, string, error) {
	list, err := l.Client.AppsV1().DaemonSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, "", err
	}
	for _, set := range list.Items {
		s := set.Status
		if s.ObservedGeneration < set.Generation || s.CurrentNumberScheduled < s.DesiredNumberScheduled {
			return false, fmt.Sprintf("DaemonSet %s/%s has %d of %d pods", set.Namespace, set.Name,
				s.CurrentNumberScheduled, s.DesiredNumberScheduled), nil
		}
	}
	return true, "", nil
}

// budgetsSettled waits until each budget has counted its pods: before that it
// allows no disruption at all, and a first drain would be refused for nothing.
func (l *Loader) budgetsSettled(ctx context.Context) (bool, string, error) {
	budgets, err := l.Client.PolicyV1().PodDisruptionBudgets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, "", err
	}
	for i := range budgets.Items {
		b := &budgets.Items[i]
		healthy, err := l.healthyPods(ctx, b)
		if err != nil {
			return false, "", err
		}
		s := &b.Status
		if s.ObservedGeneration < b.Generation || (s.CurrentHealthy != healthy && !uncountable(b)) {
			return false, fmt.Sprintf("PodDisruptionBudget %s/%s counts %d of %d healthy pods",
				b.Namespace, b.Name, s.CurrentHealthy, healthy), nil
		}
	}
	return true, "", nil
}

// uncountable: the controller gives up on pods without a scalable owner.
func uncountable(b *policyv1.PodDisruptionBudget) bool {
	for _, c := range b.Status.Conditions {
		if c.Type == policyv1.DisruptionAllowedCondition && c.Reason == policyv1.SyncFailedReason {
			return true
		}
	}
	return false
}

func (l *Loader) healthyPods(ctx context.Context, b *policyv1.PodDisruptionBudget) (int32, error) {
	selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil || selector == labels.Nothing() {
		return 0, err
	}
	pods, err := l.Client.CoreV1().Pods(b.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return 0, err
	}
	var healthy int32
	for i := range pods.Items {
		if pods.Items[i].Status.Phase == corev1.PodRunning {
			healthy++
		}
	}
	return healthy, nil
}
