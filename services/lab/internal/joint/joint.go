// Package joint keeps the Kubernetes nodes and the EC2 instances of the lab the same set.
package joint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/cloudoptim/cloudoptim/pkg/moto"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/eks"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/progress"
)

// Joint does what the kubelet's registration and the cloud controller do on
// EKS: a running instance becomes a Node, a Node without instance goes.
type Joint struct {
	EC2       *ec2.Client
	Kube      kubernetes.Interface
	Account   *moto.Account
	BootDelay time.Duration // from running to a Node: boot and kubelet
	Interval  time.Duration // between two looks at EC2

	types      map[string]ec2Type
	booting    map[string]*machine
	registered map[string]bool // instances that have had their Node
}

// machine is an instance that has no Node yet.
type machine struct {
	ec2types.Instance
	since time.Time
}

// Run looks at EC2 again and again until ctx ends. A look that fails is told
// and tried again: the lab injects faults into EC2 on purpose.
func (j *Joint) Run(ctx context.Context) error {
	j.types, j.booting, j.registered = map[string]ec2Type{}, map[string]*machine{}, map[string]bool{}
	factory := informers.NewSharedInformerFactory(j.Kube, 0)
	nodes := factory.Core().V1().Nodes().Lister()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	told := ""
	for {
		begin := time.Now()
		trouble := ""
		if err := j.look(ctx, nodes); err != nil && ctx.Err() == nil {
			trouble = err.Error()
		}
		if trouble != "" && trouble != told { // the same twice a second helps nobody
			progress.Say("joint: %s", trouble)
		}
		told = trouble
		// moto is slow with a thousand instances; leave it time for others.
		pause := max(j.Interval, 3*time.Since(begin))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// look compares once. Nodes go before new ones come, as EC2 gives a freed
// address, hence a node's name, to the next instance.
func (j *Joint) look(ctx context.Context, lister corelisters.NodeLister) error {
	running, err := j.running(ctx)
	if err != nil {
		return fmt.Errorf("asking which instances run: %w", err)
	}
	nodes, err := lister.List(labels.Everything())
	if err != nil {
		return err
	}
	missing := map[string]string{} // instance → node
	for _, node := range nodes {
		id := eks.InstanceID(node.Spec.ProviderID)
		if id == "" {
			continue
		}
		j.registered[id] = true
		if !running[id] {
			missing[id] = node.Name
		}
	}
	if err := j.reap(ctx, missing); err != nil {
		return err
	}
	if err := j.greet(ctx, running); err != nil {
		return fmt.Errorf("describing new instances: %w", err)
	}
	var troubles []error
	for id, m := range j.booting {
		if time.Since(m.since) < j.BootDelay {
			continue
		}
		if err := j.register(ctx, id, m); err != nil {
			troubles = append(troubles, fmt.Errorf("making a node of %s: %w", id, err))
		}
	}
	return errors.Join(troubles...)
}

// reap removes the Nodes whose instances have ended. Stopped instances keep
// theirs, as on EKS.
func (j *Joint) reap(ctx context.Context, missing map[string]string) error {
	instances, err := j.describe(ctx, slices.Collect(maps.Keys(missing)))
	if err != nil {
		return fmt.Errorf("describing instances that do not run: %w", err)
	}
	for id, node := range missing {
		if i, known := instances[id]; known && i.State != nil {
			switch i.State.Name {
			case ec2types.InstanceStateNameShuttingDown, ec2types.InstanceStateNameTerminated:
			default:
				continue
			}
		}
		if err := j.remove(ctx, node); err != nil {
			return fmt.Errorf("removing node %s: %w", node, err)
		}
		progress.Say("joint: %s is gone, and node %s with it", id, node)
	}
	return nil
}

// greet notes the cluster's instances that have begun to run, and forgets
// those that ended before they had a Node.
func (j *Joint) greet(ctx context.Context, running map[string]bool) error {
	maps.DeleteFunc(j.booting, func(id string, _ *machine) bool { return !running[id] })
	var fresh []string
	for id := range running {
		// A kubelet registers once: a Node that someone deletes does not come back.
		if !j.registered[id] && j.booting[id] == nil {
			fresh = append(fresh, id)
		}
	}
	instances, err := j.describe(ctx, fresh)
	if err != nil {
		return err
	}
	key, value := moto.ClusterTag(j.Account.Cluster)
	for id, i := range instances {
		if slices.ContainsFunc(i.Tags, func(t ec2types.Tag) bool { return aws.ToString(t.Key) == key && aws.ToString(t.Value) == value }) {
			j.booting[id] = &machine{Instance: i, since: time.Now()}
		}
	}
	return nil
}

// register makes an instance's Node.
func (j *Joint) register(ctx context.Context, id string, m *machine) error {
	node, err := j.node(ctx, m.Instance)
	if err != nil {
		return err
	}
	nodes := j.Kube.CoreV1().Nodes()
	_, err = nodes.Create(ctx, node, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		// A node of a loaded dump has that name; use EC2's other way to name hosts.
		node.Name = id + "." + j.Account.Region + ".compute.internal"
		node.Labels[corev1.LabelHostname] = node.Name
		_, err = nodes.Create(ctx, node, metav1.CreateOptions{})
	}
	if err != nil {
		return err
	}
	j.registered[id] = true
	delete(j.booting, id)
	progress.Say("joint: %s (%s, %s) is node %s", id, m.InstanceType, node.Labels[eks.LabelCapacityType], node.Name)
	return nil
}

// remove takes the Node away and its pods with it. Kubernetes' own collector
// would remove the pods, but only after 40 to 60 s, which are constants in its
// code; and until then nobody replaces them.
func (j *Joint) remove(ctx context.Context, name string) error {
	err := j.Kube.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	pods, err := j.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", name).String(),
	})
	if err != nil {
		return err
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		err := j.Kube.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, *metav1.NewDeleteOptions(0))
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
