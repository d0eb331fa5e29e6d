package apitest

import (
	"context"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const mergePatch = types.MergePatchType

func newClient(cfg *rest.Config) (kubernetes.Interface, error) { return kubernetes.NewForConfig(cfg) }

// TestF38TheAPIServerItselfRefusesWhoDoesNotLead is the fence behind the fence:
// whatever a process believes, the lease decides.
func TestF38TheAPIServerItselfRefusesWhoDoesNotLead(t *testing.T) {
	admit(t)
	t.Cleanup(func() { freeLease(t) })
	p := newPlot(t)
	p.allowForce()
	own, other := p.addNode("own"), p.addNode("other")
	pod, rival := p.bareAgent("standby", own), p.bareAgent("leader", other)
	client, err := newClient(podToken(t, pod))
	require(t, err)
	leader, err := newClient(podToken(t, rival))
	require(t, err)
	leases := func(c kubernetes.Interface) func(string, string) error {
		return func(was, now string) error { return hold(t.Context(), c, was, now) }
	}
	require(t, leases(leader)("", rival.Name))
	patch := func(c kubernetes.Interface, node, body string) error {
		_, err := c.CoreV1().Nodes().Patch(t.Context(), node, mergePatch, []byte(body), metav1.PatchOptions{})
		return err
	}
	mark := `{"metadata":{"annotations":{"cloudoptim.io/notice":"{}"}},"spec":{"unschedulable":true}}`
	taint := `{"spec":{"taints":[{"key":"x","effect":"NoSchedule"}]}}`
	evict := func(c kubernetes.Interface) error {
		victim := p.bare("victim-"+randomName(), other)
		return c.CoreV1().Pods(p.name).EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: victim.Name}})
	}
	remove := func(c kubernetes.Interface) error {
		victim := p.bare("victim-"+randomName(), other)
		return c.CoreV1().Pods(p.name).Delete(t.Context(), victim.Name, metav1.DeleteOptions{})
	}
	// The leader first: then its rights have arrived at the admission's cache.
	await(t, "the leader's rights", func() bool { return patch(leader, own, `{"metadata":{"labels":{"a":"b"}}}`) == nil })
	_, err = kube.admin.CoreV1().Nodes().Patch(t.Context(), own, mergePatch, []byte(`{"metadata":{"annotations":{"theirs":"1"}}}`), metav1.PatchOptions{})
	require(t, err)
	for name, tc := range map[string]struct {
		do      func() error
		allowed bool
	}{
		"the leader taints a node":        {func() error { return patch(leader, own, taint) }, true},
		"the leader cleans it":            {func() error { return patch(leader, own, `{"spec":{"taints":null}}`) }, true},
		"the leader evicts":               {func() error { return evict(leader) }, true},
		"the leader deletes a pod":        {func() error { return remove(leader) }, true},
		"own node: cordon and notice":     {func() error { return patch(client, own, mark) }, true},
		"own node: uncordon":              {func() error { return patch(client, own, `{"spec":{"unschedulable":null}}`) }, true},
		"own node: label":                 {func() error { return patch(client, own, `{"metadata":{"labels":{"c":"d"}}}`) }, false},
		"own node: remove a label":        {func() error { return patch(client, own, `{"metadata":{"labels":{"plot":null}}}`) }, false},
		"own node: taint":                 {func() error { return patch(client, own, `{"spec":{"taints":[{"key":"y","effect":"NoSchedule"}]}}`) }, false},
		"own node: another's annotation":  {func() error { return patch(client, own, `{"metadata":{"annotations":{"theirs":"2"}}}`) }, false},
		"own node: remove another's":      {func() error { return patch(client, own, `{"metadata":{"annotations":{"theirs":null}}}`) }, false},
		"own node: a finalizer":           {func() error { return patch(client, own, `{"metadata":{"finalizers":["x.example.com/y"]}}`) }, false},
		"another node: cordon":            {func() error { return patch(client, other, mark) }, false},
		"evict":                           {func() error { return evict(client) }, false},
		"delete a pod":                    {func() error { return remove(client) }, false},
		"make another hold the lease":     {func() error { return leases(client)(rival.Name, "somebody-else") }, false},
		"take the lease from its holder":  {func() error { return leases(client)(rival.Name, "") }, false},
		"another lease":                   {func() error { return makeLease(t.Context(), client, "another") }, false},
		"the leader renews its own lease": {func() error { return leases(leader)(rival.Name, rival.Name) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.do()
			if tc.allowed && err != nil {
				t.Fatalf("refused: %v", err)
			}
			if !tc.allowed && !apierrors.IsForbidden(err) {
				t.Fatalf("answered %v, want forbidden", err)
			}
		})
	}
	// The lease changes hands: what was allowed is no more, at once.
	require(t, leases(leader)(rival.Name, ""))
	require(t, leases(client)("", pod.Name))
	await(t, "the new leader's rights", func() bool { return patch(client, other, `{"metadata":{"labels":{"e":"f"}}}`) == nil })
	if err := evict(leader); !apierrors.IsForbidden(err) {
		t.Fatalf("the old leader's eviction: %v", err)
	}
	if err := evict(client); err != nil {
		t.Fatalf("the new leader's eviction: %v", err)
	}
}

// hold writes a holder into the lease.
func hold(ctx context.Context, c kubernetes.Interface, was, now string) error {
	leases := c.CoordinationV1().Leases("cloudoptim")
	lease, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if *lease.Spec.HolderIdentity != was {
		return apierrors.NewConflict(corev1.Resource("leases"), leaseName, nil)
	}
	lease.Spec.HolderIdentity = &now
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

// TestWithoutALeaseNobodyIsRefused: the policy's parameter is looked up before
// it is asked whom the policy is about.
func TestWithoutALeaseNobodyIsRefused(t *testing.T) {
	admit(t)
	p := newPlot(t)
	node := p.addNode("a")
	pod := p.bare("web", node)
	t.Cleanup(func() { freeLease(t) })
	require(t, kube.admin.CoordinationV1().Leases("cloudoptim").Delete(t.Context(), leaseName, metav1.DeleteOptions{}))
	for range 20 { // for as long as the API server may take to hear of it
		_, err := kube.admin.CoreV1().Nodes().Patch(t.Context(), node, mergePatch, []byte(`{"metadata":{"labels":{"at":"`+randomName()+`"}}}`), metav1.PatchOptions{})
		require(t, err)
		time.Sleep(50 * time.Millisecond)
	}
	require(t, kube.admin.CoreV1().Pods(p.name).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}))
}

func makeLease(ctx context.Context, c kubernetes.Interface, name string) error {
	_, err := c.CoordinationV1().Leases("cloudoptim").Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	return err
}
