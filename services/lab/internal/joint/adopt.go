package joint

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	corev1 "k8s.io/api/core/v1"

	"github.com/cloudoptim/cloudoptim/pkg/moto"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/eks"
)

// kind is what instances that are launched together have in common.
type kind struct {
	instanceType string
	zone         string
	spot         bool
}

// Adopt launches an instance for each node of a copied cluster, before there
// is a Node, and writes on the node what ties it to its instance. A node that
// is not EC2's gets the cheapest type that covers it and a zone in turn.
func Adopt(ctx context.Context, client *ec2.Client, account *moto.Account, nodes []*corev1.Node) error {
	zones := make([]string, 0, len(account.Subnets))
	for zone := range account.Subnets {
		zones = append(zones, zone)
	}
	slices.Sort(zones)
	byKind := map[kind][]*corev1.Node{}
	for i, node := range nodes {
		k, err := kindOf(node)
		if err != nil {
			return err
		}
		if _, ours := account.Subnets[k.zone]; !ours {
			k.zone = zones[i%len(zones)]
		}
		byKind[k] = append(byKind[k], node)
	}
	for k, group := range byKind {
		ids, err := launch(ctx, client, account, k, len(group))
		if err != nil {
			return fmt.Errorf("launching %d %s in %s: %w", len(group), k.instanceType, k.zone, err)
		}
		for i, node := range group {
			tie(node, k, ids[i])
		}
	}
	return nil
}

func launch(ctx context.Context, client *ec2.Client, account *moto.Account, k kind, n int) ([]string, error) {
	count := aws.Int32(int32(n))
	in := &ec2.RunInstancesInput{
		LaunchTemplate: &ec2types.LaunchTemplateSpecification{
			LaunchTemplateId: &account.LaunchTemplateID, Version: aws.String("$Latest"),
		},
		InstanceType: ec2types.InstanceType(k.instanceType), SubnetId: aws.String(account.Subnets[k.zone]),
		MinCount: count, MaxCount: count, // moto launches MinCount
	}
	if k.spot {
		in.InstanceMarketOptions = &ec2types.InstanceMarketOptionsRequest{MarketType: ec2types.MarketTypeSpot}
	}
	out, err := client.RunInstances(ctx, in)
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, n)
	for _, i := range out.Instances {
		ids = append(ids, aws.ToString(i.InstanceId))
	}
	if len(ids) != n {
		return nil, fmt.Errorf("got %d instances", len(ids))
	}
	return ids, nil
}

func kindOf(node *corev1.Node) (kind, error) {
	l := node.Labels
	k := kind{
		instanceType: cmp.Or(l[corev1.LabelInstanceTypeStable], l[corev1.LabelInstanceType]),
		zone:         cmp.Or(l[corev1.LabelTopologyZone], l[corev1.LabelFailureDomainBetaZone]),
		spot:         l[eks.LabelCapacityType] == eks.Spot || l[eks.LabelKarpenter] == "spot",
	}
	if ec2Name(k.instanceType) {
		return k, nil
	}
	size := node.Status.Capacity
	gpus := size[eks.ResourceGPU]
	t, ok := eks.Cheapest(size.Cpu().MilliValue(), size.Memory().Value()>>20, gpus.Value())
	if !ok {
		return k, fmt.Errorf("node %s has no EC2 instance type, and none known is as big", node.Name)
	}
	k.instanceType = t.Name
	return k, nil
}

// ec2Name tells m5.large from another cloud's n2-standard-4.
func ec2Name(s string) bool {
	for i, r := range s {
		if r == '.' {
			return i > 0 && i < len(s)-1
		}
	}
	return false
}

// tie keeps the dump's labels where they say more than ours.
func tie(node *corev1.Node, k kind, instanceID string) {
	node.Spec.ProviderID = eks.ProviderID(k.zone, instanceID)
	arch := cmp.Or(node.Labels[corev1.LabelArchStable], node.Status.NodeInfo.Architecture, "amd64")
	for key, value := range eks.Labels(eks.Machine{
		Name: node.Name, Type: eks.Type{Name: k.instanceType}, Arch: arch, Zone: k.zone, Spot: k.spot,
	}) {
		node.Labels[key] = value
	}
}
