package fit

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// whole pod, as far as the filters look at it.
func whole() *fleetv1.Pod {
	selector := func() *fleetv1.LabelSelector {
		return &fleetv1.LabelSelector{
			MatchLabels:      map[string]string{"app": "a"},
			MatchExpressions: []*fleetv1.LabelRequirement{{Key: "k", Operator: "In", Values: []string{"v"}}},
		}
	}
	term := func() *fleetv1.PodAffinityTerm {
		return &fleetv1.PodAffinityTerm{Selector: selector(), TopologyKey: LabelZone, Namespaces: []string{"n"}, NamespaceSelector: true}
	}
	return &fleetv1.Pod{
		Namespace: "n", Terminating: true, Labels: map[string]string{"app": "a"},
		Requests:     &fleetv1.Resources{CpuMillicores: 1, MemoryBytes: 2, EphemeralStorageBytes: 3, Extended: map[string]int64{"gpu": 4}},
		NodeSelector: map[string]string{"arch": "arm64"},
		NodeAffinity: []*fleetv1.NodeSelectorTerm{{
			MatchExpressions: []*fleetv1.LabelRequirement{{Key: "k", Operator: "In", Values: []string{"v"}}},
			MatchFields:      []*fleetv1.LabelRequirement{{Key: "k", Operator: "In", Values: []string{"v"}}},
		}},
		PodAffinity: []*fleetv1.PodAffinityTerm{term()}, PodAntiAffinity: []*fleetv1.PodAffinityTerm{term()},
		Tolerations: []*fleetv1.Toleration{{Key: "k", Operator: "Equal", Value: "v", Effect: "NoSchedule"}},
		TopologySpread: []*fleetv1.TopologySpread{{
			MaxSkew: 1, TopologyKey: LabelZone, WhenUnsatisfiable: "DoNotSchedule", Selector: selector(), MinDomains: 2,
		}},
		VolumeZones: []string{"z"}, HostPorts: []int32{80},
	}
}

// unseen are the fields that no filter looks at.
var unseen = []protoreflect.Name{
	"uid", "name", "node_name", "phase", "ready", "owner", "priority", "priority_class", "local_storage", "do_not_disrupt", "mirror",
	"grace_period_seconds", "created_at",
}

// TestPodsThatDifferAreSpelledDifferently takes away each field of a pod, however
// deep, and adds to each: a field that the contract gets must be spelled or named as unseen.
func TestPodsThatDifferAreSpelledDifferently(t *testing.T) {
	fields := fleetv1.File_cloudoptim_fleet_v1_pod_proto.Messages().ByName("Pod").Fields()
	for i := range fields.Len() {
		name := fields.Get(i).Name()
		if whole().ProtoReflect().Has(fields.Get(i)) == slices.Contains(unseen, name) {
			t.Errorf("%s is not in the test's pod, or is and should not be", name)
		}
	}
	s := &speller{}
	plain := string(s.pod(whole()))
	if again := string(s.pod(proto.CloneOf(whole()))); again != plain {
		t.Fatal("equal pods are spelled differently")
	}
	for path := range paths(whole().ProtoReflect()) {
		for _, how := range []func(protoreflect.Message, protoreflect.FieldDescriptor){protoreflect.Message.Clear, alter} {
			pod := whole()
			n := 0
			visit(pod.ProtoReflect(), func(m protoreflect.Message, f protoreflect.FieldDescriptor) {
				if n == path {
					how(m, f)
				}
				n++
			})
			if string(s.pod(pod)) == plain {
				t.Errorf("a pod is spelled as another: %v", pod)
			}
		}
	}
}

// paths is how many fields are set in a message, however deep.
func paths(m protoreflect.Message) (n int) {
	visit(m, func(protoreflect.Message, protoreflect.FieldDescriptor) { n++ })
	return n
}

// visit the fields that are set, in order.
func visit(m protoreflect.Message, do func(protoreflect.Message, protoreflect.FieldDescriptor)) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		inner := []protoreflect.Message{}
		if f.Message() != nil && !f.IsMap() {
			if f.IsList() {
				inner = append(inner, m.Get(f).List().Get(0).Message())
			} else {
				inner = append(inner, m.Get(f).Message())
			}
		}
		do(m, f)
		for _, in := range inner {
			visit(in, do)
		}
	}
}

// alter the value of a field that is set.
func alter(m protoreflect.Message, f protoreflect.FieldDescriptor) {
	switch {
	case f.IsMap():
		value := protoreflect.ValueOfString("else")
		if f.MapValue().Kind() == protoreflect.Int64Kind {
			value = protoreflect.ValueOfInt64(9)
		}
		m.Mutable(f).Map().Set(protoreflect.ValueOfString("else").MapKey(), value)
	case f.IsList():
		list := m.Mutable(f).List()
		list.Append(list.Get(0))
	case f.Message() != nil:
		m.Clear(f)
	case f.Kind() == protoreflect.StringKind:
		m.Set(f, protoreflect.ValueOfString("else"))
	case f.Kind() == protoreflect.BoolKind:
		m.Set(f, protoreflect.ValueOfBool(false))
	case f.Kind() == protoreflect.Int32Kind:
		m.Set(f, protoreflect.ValueOfInt32(9))
	default:
		m.Set(f, protoreflect.ValueOfInt64(9))
	}
}
