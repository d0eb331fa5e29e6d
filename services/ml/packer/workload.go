package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// workload is pods and what may be bought for them.
type workload struct {
	pods    []*fleetv1.Pod
	daemons []*fleetv1.Pod
	all     []*fleetv1.Pod // pods, then DaemonSets' pods
	columns []column
}

// column is one offer.
type column struct {
	kind     *instanceType
	pool     *pool
	zone     string
	capacity string
	price    float64
	labels   map[string]string
	taints   []*fleetv1.Taint
}

// instanceType is a shape that can be bought, in the peers' format.
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

// pool is nodes with labels and taints of their own.
type pool struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Taints []taint           `json:"taints,omitempty"`
}

type taint struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Effect string `json:"effect"`
}

// file is a workload as it is stored; pods are fleet.v1 in JSON.
type file struct {
	Types    []instanceType    `json:"types"`
	Capacity []string          `json:"capacity"`
	Pools    []pool            `json:"pools"`
	Pods     []json.RawMessage `json:"pods"`
	Daemons  []json.RawMessage `json:"daemons"`
}

// plainPod is a pod in the peers' format.
type plainPod struct {
	Name         string            `json:"name"`
	App          string            `json:"app"`
	CPUMilli     int64             `json:"cpu_milli"`
	MemBytes     int64             `json:"mem_bytes"`
	Zone         string            `json:"zone"`
	CapacityType string            `json:"capacity_type"`
	NodeSelector map[string]string `json:"node_selector"`
}

const (
	labelType     = "node.kubernetes.io/instance-type"
	labelArch     = "kubernetes.io/arch"
	labelOS       = "kubernetes.io/os"
	labelCapacity = "karpenter.sh/capacity-type"
	labelPool     = "karpenter.sh/nodepool"
	spot          = "spot"
)

func read(o options) (*workload, error) {
	f := &file{Capacity: list(o.capacity)}
	w := &workload{}
	if o.workload == "" {
		var plain []plainPod
		if err := readJSON(o.pods, &plain); err != nil {
			return nil, err
		}
		if err := readJSON(o.types, &f.Types); err != nil {
			return nil, err
		}
		for i := range plain {
			w.pods = append(w.pods, plain[i].pod())
		}
	} else if err := readJSON(o.workload, f); err != nil {
		return nil, err
	}
	for _, source := range []struct {
		raw  []json.RawMessage
		into *[]*fleetv1.Pod
	}{{f.Pods, &w.pods}, {f.Daemons, &w.daemons}} {
		for _, raw := range source.raw {
			pod := &fleetv1.Pod{}
			if err := protojson.Unmarshal(raw, pod); err != nil {
				return nil, fmt.Errorf("reading a pod: %w", err)
			}
			*source.into = append(*source.into, pod)
		}
	}
	if len(f.Pools) == 0 {
		f.Pools = []pool{{Name: "default"}}
	}
	w.all = slices.Concat(w.pods, w.daemons)
	w.offer(f)
	return w, nil
}

func (p *plainPod) pod() *fleetv1.Pod {
	pod := &fleetv1.Pod{
		Uid: p.Name, Namespace: "default", Name: p.Name, Labels: map[string]string{"app": p.App}, NodeSelector: maps.Clone(p.NodeSelector),
		Requests: &fleetv1.Resources{CpuMillicores: p.CPUMilli, MemoryBytes: p.MemBytes},
	}
	for key, value := range map[string]string{fit.LabelZone: p.Zone, labelCapacity: p.CapacityType} {
		if value == "" {
			continue
		}
		if pod.NodeSelector == nil {
			pod.NodeSelector = map[string]string{}
		}
		pod.NodeSelector[key] = value
	}
	return pod
}

func (w *workload) offer(f *file) {
	for p := range f.Pools {
		for t := range f.Types {
			kind := &f.Types[t]
			for _, zone := range kind.Zones {
				for _, capacity := range f.Capacity {
					c := column{kind: kind, pool: &f.Pools[p], zone: zone, capacity: capacity, price: kind.PriceOnDemand}
					if capacity == spot {
						c.price = kind.PriceSpot[zone]
					}
					if c.price > 0 {
						c.labels, c.taints = c.label(), c.taint()
						w.columns = append(w.columns, c)
					}
				}
			}
		}
	}
}

func (c *column) label() map[string]string {
	labels := map[string]string{
		labelType: c.kind.Name, labelArch: c.kind.Arch, labelOS: "linux", fit.LabelZone: c.zone,
		labelCapacity: c.capacity, labelPool: c.pool.Name,
	}
	maps.Copy(labels, c.pool.Labels)
	return labels
}

func (c *column) taint() (all []*fleetv1.Taint) {
	for _, t := range c.pool.Taints {
		all = append(all, &fleetv1.Taint{Key: t.Key, Value: t.Value, Effect: t.Effect})
	}
	return all
}

// node of the column when empty, with what DaemonSets reserve on it.
func (w *workload) node(book *fit.Book, c *column) fit.Node {
	n := fit.Node{
		Labels: c.labels, Taints: c.taints,
		Room: fit.Amounts{CPU: c.kind.CPUMilli - c.kind.OverheadCPUMilli, Memory: c.kind.MemBytes - c.kind.OverheadMemBytes, Pods: c.kind.MaxPods},
	}
	for i, d := range w.daemons {
		if fit.Admits(d, &n) {
			n.Reserved = n.Reserved.Plus(book.Requests(len(w.pods) + i))
			n.Ports = append(n.Ports, d.GetHostPorts()...)
		}
	}
	return n
}
