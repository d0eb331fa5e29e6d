package main

import (
	"context"
	"errors"

	"github.com/awslabs/operatorpkg/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/karpenter/kwok/apis/v1alpha1"
	v1 "sigs.k8s.io/karpenter/pkg/apis/v1"
	"sigs.k8s.io/karpenter/pkg/cloudprovider"
	"sigs.k8s.io/karpenter/pkg/scheduling"
)

type instanceType struct {
	Name             string             `json:"name"`
	Arch             string             `json:"arch"`
	CPUMilli         int64              `json:"cpu_milli"`
	MemBytes         int64              `json:"mem_bytes"`
	MaxPods          int64              `json:"max_pods"`
	OverheadCPUMilli int64              `json:"overhead_cpu_milli"`
	OverheadMemBytes int64              `json:"overhead_mem_bytes"`
	PriceOnDemand    float64            `json:"price_on_demand"`
	PriceSpot        map[string]float64 `json:"price_spot"`
	Zones            []string           `json:"zones"`
}

type pool struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
	Taints []corev1.Taint    `json:"taints"`
}

const group, kind = "karpenter.kwok.sh", "KWOKNodeClass"

func (w *workload) nodePool(p *pool) *v1.NodePool {
	np := &v1.NodePool{ObjectMeta: metav1.ObjectMeta{Name: p.Name, UID: types.UID("pool-" + p.Name)}}
	np.Spec.Disruption = v1.Disruption{
		ConsolidationPolicy: v1.ConsolidationPolicyWhenEmptyOrUnderutilized, ConsolidateAfter: v1.MustParseNillableDuration("0s"),
	}
	np.Spec.Template.Labels = p.Labels
	np.Spec.Template.Spec = v1.NodeClaimTemplateSpec{
		NodeClassRef: &v1.NodeClassReference{Group: group, Kind: kind, Name: "default"},
		Taints:       p.Taints,
		Requirements: []v1.NodeSelectorRequirementWithMinValues{
			{Key: v1.CapacityTypeLabelKey, Operator: corev1.NodeSelectorOpIn, Values: w.Capacity},
		},
	}
	np.StatusConditions().SetTrue(v1.ConditionTypeValidationSucceeded)
	np.StatusConditions().SetTrue(v1.ConditionTypeNodeClassReady)
	np.StatusConditions().SetUnknown(v1.ConditionTypeNodeRegistrationHealthy)
	return np
}

func (w *workload) instanceTypes() (all []*cloudprovider.InstanceType) {
	for i := range w.Types {
		t := &w.Types[i]
		var offerings cloudprovider.Offerings
		for _, zone := range t.Zones {
			for _, capacity := range w.Capacity {
				price := t.PriceOnDemand
				if capacity == v1.CapacityTypeSpot {
					price = t.PriceSpot[zone]
				}
				if price <= 0 {
					continue
				}
				offerings = append(offerings, &cloudprovider.Offering{Available: true, Price: price, Requirements: scheduling.NewLabelRequirements(
					map[string]string{v1.CapacityTypeLabelKey: capacity, corev1.LabelTopologyZone: zone})})
			}
		}
		one := func(key string, values ...string) *scheduling.Requirement {
			return scheduling.NewRequirement(key, corev1.NodeSelectorOpIn, values...)
		}
		all = append(all, &cloudprovider.InstanceType{
			Name: t.Name, Offerings: offerings,
			Requirements: scheduling.NewRequirements(
				one(corev1.LabelInstanceTypeStable, t.Name), one(corev1.LabelArchStable, t.Arch), one(corev1.LabelOSStable, string(corev1.Linux)),
				one(corev1.LabelTopologyZone, t.Zones...), one(v1.CapacityTypeLabelKey, w.Capacity...)),
			Capacity: corev1.ResourceList{
				corev1.ResourceCPU: *milli(t.CPUMilli), corev1.ResourceMemory: *bytes(t.MemBytes),
				corev1.ResourcePods: *resource.NewQuantity(t.MaxPods, resource.DecimalSI),
			},
			Overhead: &cloudprovider.InstanceTypeOverhead{KubeReserved: corev1.ResourceList{
				corev1.ResourceCPU: *milli(t.OverheadCPUMilli), corev1.ResourceMemory: *bytes(t.OverheadMemBytes),
			}},
		})
	}
	return all
}

func milli(n int64) *resource.Quantity { return resource.NewMilliQuantity(n, resource.DecimalSI) }
func bytes(n int64) *resource.Quantity { return resource.NewQuantity(n, resource.BinarySI) }

// provider is the least that the scheduler needs of a cloud.
type provider struct{ types []*cloudprovider.InstanceType }

var errUnused = errors.New("the benchmark launches nothing")

func (p *provider) GetInstanceTypes(context.Context, *v1.NodePool) ([]*cloudprovider.InstanceType, error) {
	return p.types, nil
}

func (*provider) Create(context.Context, *v1.NodeClaim) (*v1.NodeClaim, error) { return nil, errUnused }
func (*provider) Delete(context.Context, *v1.NodeClaim) error                  { return errUnused }
func (*provider) Get(context.Context, string) (*v1.NodeClaim, error) {
	return nil, cloudprovider.NewNodeClaimNotFoundError(errUnused)
}
func (*provider) List(context.Context) ([]*v1.NodeClaim, error) { return nil, nil }
func (*provider) IsDrifted(context.Context, *v1.NodeClaim) (cloudprovider.DriftReason, error) {
	return "", nil
}
func (*provider) RepairPolicies() []cloudprovider.RepairPolicy { return nil }
func (*provider) Name() string                                 { return "bench" }

func (*provider) GetSupportedNodeClasses() []status.Object {
	class := &v1alpha1.KWOKNodeClass{}
	class.APIVersion, class.Kind = group+"/v1alpha1", kind
	return []status.Object{class}
}
