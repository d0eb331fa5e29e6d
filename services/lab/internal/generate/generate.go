// Package generate makes up a cluster as companies run them: on demand unless told otherwise, in three zones, two thirds idle.
//
// All of it follows from a seed. What is drawn, and how:
//
//	nodes      m5, m6i, c5, r5 in 2xlarge and 4xlarge, weighted 5:5:2:2 and 3:2; zones in turn;
//	           one of twenty, if there are twenty, is tainted dedicated=batch:NoSchedule
//	workloads  replicas 1 to 25 with P(r) ~ 1/r^1.5 (so 45 % have one), until there are enough pods;
//	           every 8th is a StatefulSet, the others are Deployments' ReplicaSets
//	CPU        log-normal, median 250m, sigma 0.9; then scaled as a whole so that the fleet is filled as asked
//	memory     1, 2, 4 or 8 GiB for each core, with 10, 30, 40 and 20 %
//	PDBs       on 75 % of the workloads with replicas and 15 % of the others, in four styles
//	rules      zone spread 20 %, anti-affinity by host 12 %, amd64 only 10 %, priority classes 10 % + 10 %,
//	           batch toleration 6 %; two workloads on demand only, two that must not be disrupted
//	DaemonSets aws-node 50m, kube-proxy 100m, node-exporter 50m/64Mi: their pods come on top of the count
package generate

import (
	"fmt"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/dump"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/eks"
)

// Config is what a cluster follows from.
type Config struct {
	Seed   uint64
	Nodes  int
	Pods   int
	Fill   float64 // requested share of the fleet's CPU, DaemonSets and all
	Spot   float64 // share of the nodes that are spot, spread evenly over them
	Region string
}

// generator holds the one source of chance: the order of draws is part of
// what a seed means.
type generator struct {
	Config
	rand      *rand.Rand
	nodes     []*slot
	workloads []*workload
	out       *dump.Dump
}

// Cluster makes the cluster of a config.
func Cluster(c Config) (*dump.Dump, error) {
	if c.Nodes < 1 || c.Pods < 1 || c.Fill <= 0 || c.Fill > 0.9 || c.Spot < 0 || c.Spot > 1 {
		return nil, fmt.Errorf("making a cluster of %d nodes, %d pods, %.2f full, %.2f spot: want some of each, a fill up to 0.9, and a share", c.Nodes, c.Pods, c.Fill, c.Spot)
	}
	g := &generator{Config: c, rand: rand.New(rand.NewPCG(c.Seed, 0x10ab)), out: &dump.Dump{}}
	g.makeNodes()
	g.makeWorkloads()
	g.scale()
	if err := g.placeAll(); err != nil {
		return nil, err
	}
	g.makeDaemonPods()
	return g.out, nil
}

var families = []struct {
	name   string
	weight int
}{{"m5", 5}, {"m6i", 5}, {"c5", 2}, {"r5", 2}}

func (g *generator) makeNodes() {
	tainted := g.Nodes / 20
	for i := range g.Nodes {
		size := "2xlarge"
		if g.rand.IntN(5) >= 3 {
			size = "4xlarge"
		}
		family := g.family()
		t, _ := eks.TypeNamed(family + "." + size)
		node := eks.Node(eks.Machine{
			// Not of the range that EC2 gives new instances' names from.
			Name: fmt.Sprintf("ip-10-0-%d-%d.%s", i/200, i%200+10, hostDomain(g.Region)),
			Type: t, Arch: "amd64", Zone: g.Region + string(rune('a'+i%3)),
			Spot: int(float64(i+1)*g.Spot) > int(float64(i)*g.Spot),
		})
		node.Labels[eks.LabelNodegroup] = "general-" + family
		if i < tainted {
			node.Labels[eks.LabelNodegroup] = "batch"
			node.Spec.Taints = []corev1.Taint{{Key: "dedicated", Value: "batch", Effect: corev1.TaintEffectNoSchedule}}
		}
		g.out.Nodes = append(g.out.Nodes, *node)
		g.nodes = append(g.nodes, newSlot(node))
	}
}

func (g *generator) family() string {
	pick := g.rand.IntN(14)
	for _, f := range families {
		if pick < f.weight {
			return f.name
		}
		pick -= f.weight
	}
	return families[0].name
}

func hostDomain(region string) string {
	if region == "us-east-1" { // older than the others
		return "ec2.internal"
	}
	return region + ".compute.internal"
}

// chance is a coin that falls on true with that probability.
func (g *generator) chance(p float64) bool { return g.rand.Float64() < p }

// letters are random ones as Kubernetes draws them: no vowels, so no words.
func (g *generator) letters(n int) string {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[g.rand.IntN(len(alphabet))]
	}
	return string(b)
}

func (g *generator) uid() string {
	a, b := g.rand.Uint64(), g.rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&0xffffffffffff)
}

func controller(kind, name, uid string) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: kind, Name: name, UID: types.UID(uid), Controller: &yes, BlockOwnerDeletion: &yes,
	}}
}
