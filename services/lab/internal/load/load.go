// Package load creates a copied cluster in a real control plane and waits until it has settled.
package load

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"golang.org/x/sync/errgroup"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/dump"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/progress"
)

// parallel is how many objects are created at once: more only queue up in
// etcd on a small machine.
const parallel = 16

// Loader puts one copy into one cluster.
type Loader struct {
	Client kubernetes.Interface
	Copy   *dump.Copy

	mu       sync.Mutex
	rejected []error
}

// Load creates everything, in an order in which nothing is made twice: pods
// are bound to their nodes and run before the controllers that adopt them
// exist, for a ReplicaSet that sees no pods makes new ones.
func (l *Loader) Load(ctx context.Context) error {
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{fmt.Sprintf("making %d nodes", len(l.Copy.Nodes)), l.nodes},
		{fmt.Sprintf("making %d pods on their nodes", len(l.Copy.Pods)), l.pods},
		{fmt.Sprintf("giving the pods %d controllers", len(l.Copy.ReplicaSets)+len(l.Copy.StatefulSets)), l.controllers},
		{fmt.Sprintf("making %d DaemonSets", len(l.Copy.DaemonSets)), l.daemonSets},
		{fmt.Sprintf("making %d disruption budgets", len(l.Copy.PDBs)), l.budgets},
		{"waiting for every pod to run", l.allRunning},
	}
	for _, note := range l.Copy.Notes {
		progress.Say("note: %s", note)
	}
	for _, step := range steps {
		if err := progress.Step(step.what, func() error { return step.do(ctx) }); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

func (l *Loader) nodes(ctx context.Context) error {
	for _, name := range l.Copy.Namespaces {
		if err := l.namespace(ctx, name); err != nil {
			return err
		}
	}
	for _, class := range l.Copy.PriorityClasses {
		if _, err := l.Client.SchedulingV1().PriorityClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating priority class %s: %w", class.Name, err)
		}
	}
	err := each(ctx, l.Copy.Nodes, func(ctx context.Context, n *corev1.Node) error {
		_, err := l.Client.CoreV1().Nodes().Create(ctx, n, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	return until(ctx, l.nodesReady)
}

func (l *Loader) namespace(ctx context.Context, name string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := l.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	// No pod is admitted before the namespace's default account is there.
	return until(ctx, func(ctx context.Context) (bool, string, error) {
		_, err := l.Client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, "no default service account in " + name, nil
	})
}

// pods tolerates single refusals: a dump may come from another version of
// Kubernetes, and 999 of 1,000 pods are a good copy.
func (l *Loader) pods(ctx context.Context) error {
	err := each(ctx, l.Copy.Pods, func(ctx context.Context, p *corev1.Pod) error {
		_, err := l.Client.CoreV1().Pods(p.Namespace).Create(ctx, p, metav1.CreateOptions{})
		if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.rejected = append(l.rejected, err)
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if n := len(l.rejected); n > 0 {
		progress.Say("note: %d of %d pods were refused, the first with: %v", n, len(l.Copy.Pods), l.rejected[0])
		if n > len(l.Copy.Pods)/10 {
			return fmt.Errorf("more than a tenth of the pods were refused: %w", l.rejected[0])
		}
	}
	return until(ctx, l.podsRunning)
}

func (l *Loader) controllers(ctx context.Context) error {
	apps := l.Client.AppsV1()
	for _, set := range l.Copy.ReplicaSets {
		if _, err := apps.ReplicaSets(set.Namespace).Create(ctx, set, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating ReplicaSet %s/%s: %w", set.Namespace, set.Name, err)
		}
	}
	for _, set := range l.Copy.StatefulSets {
		if _, err := apps.StatefulSets(set.Namespace).Create(ctx, set, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating StatefulSet %s/%s: %w", set.Namespace, set.Name, err)
		}
	}
	return until(ctx, l.adopted)
}

func (l *Loader) daemonSets(ctx context.Context) error {
	for _, set := range l.Copy.DaemonSets {
		if _, err := l.Client.AppsV1().DaemonSets(set.Namespace).Create(ctx, set, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating DaemonSet %s/%s: %w", set.Namespace, set.Name, err)
		}
	}
	return until(ctx, l.daemonsMade)
}

func (l *Loader) budgets(ctx context.Context) error {
	for _, b := range l.Copy.PDBs {
		if _, err := l.Client.PolicyV1().PodDisruptionBudgets(b.Namespace).Create(ctx, b, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating PodDisruptionBudget %s/%s: %w", b.Namespace, b.Name, err)
		}
	}
	return nil // settled only when the pods are: allRunning waits for both
}

func (l *Loader) allRunning(ctx context.Context) error {
	if err := until(ctx, l.podsRunning); err != nil {
		return err
	}
	return until(ctx, l.budgetsSettled)
}

// each runs do for all, some at a time.
func each[T any](ctx context.Context, all []*T, do func(context.Context, *T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, one := range all {
		group.Go(func() error { return do(ctx, one) })
	}
	return group.Wait()
}
