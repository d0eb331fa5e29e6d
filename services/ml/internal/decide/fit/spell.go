package fit

import (
	"encoding/binary"
	"maps"
	"slices"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// speller spells everything about a pod that the filters look at, equal only for
// pods that are alike to them: quicker than the wire format, as most of a large book is this.
type speller struct {
	text []byte
	keys []string
}

// pod spells a pod. The text is overwritten by the next one.
func (s *speller) pod(p *fleetv1.Pod) []byte {
	s.text = s.text[:0]
	s.string(p.GetNamespace())
	spellMap(s, p.GetLabels(), s.string)
	r := p.GetRequests()
	s.number(r.GetCpuMillicores(), r.GetMemoryBytes(), r.GetEphemeralStorageBytes())
	spellMap(s, r.GetExtended(), func(v int64) { s.number(v) })
	s.yes(p.GetTerminating())
	spellMap(s, p.GetNodeSelector(), s.string)
	spellAll(s, p.GetTolerations(), func(t *fleetv1.Toleration) {
		s.string(t.GetKey())
		s.string(t.GetOperator())
		s.string(t.GetValue())
		s.string(t.GetEffect())
	})
	spellAll(s, p.GetVolumeZones(), s.string)
	spellAll(s, p.GetHostPorts(), func(port int32) { s.number(int64(port)) })
	spellAll(s, p.GetNodeAffinity(), func(t *fleetv1.NodeSelectorTerm) {
		spellAll(s, t.GetMatchExpressions(), s.requirement)
		spellAll(s, t.GetMatchFields(), s.requirement)
	})
	spellAll(s, p.GetPodAffinity(), s.term)
	spellAll(s, p.GetPodAntiAffinity(), s.term)
	spellAll(s, p.GetTopologySpread(), func(t *fleetv1.TopologySpread) {
		s.number(int64(t.GetMaxSkew()), int64(t.GetMinDomains()))
		s.string(t.GetTopologyKey())
		s.string(t.GetWhenUnsatisfiable())
		s.selector(t.GetSelector())
	})
	return s.text
}

func (s *speller) number(values ...int64) {
	for _, v := range values {
		s.text = binary.AppendVarint(s.text, v)
	}
}

func (s *speller) string(v string) {
	s.number(int64(len(v)))
	s.text = append(s.text, v...)
}

func (s *speller) requirement(r *fleetv1.LabelRequirement) {
	s.string(r.GetKey())
	s.string(r.GetOperator())
	spellAll(s, r.GetValues(), s.string)
}

// selector; none selects nothing, an empty one everything.
func (s *speller) selector(of *fleetv1.LabelSelector) {
	if of == nil {
		s.number(0)
		return
	}
	s.number(1)
	spellMap(s, of.GetMatchLabels(), s.string)
	spellAll(s, of.GetMatchExpressions(), s.requirement)
}

func (s *speller) term(t *fleetv1.PodAffinityTerm) {
	s.string(t.GetTopologyKey())
	spellAll(s, t.GetNamespaces(), s.string)
	s.yes(t.GetNamespaceSelector())
	s.selector(t.GetSelector())
}

func (s *speller) yes(is bool) {
	if is {
		s.number(1)
	} else {
		s.number(0)
	}
}

func spellAll[V any](s *speller, list []V, one func(V)) {
	s.number(int64(len(list)))
	for _, v := range list {
		one(v)
	}
}

func spellMap[V any](s *speller, m map[string]V, value func(V)) {
	s.number(int64(len(m)))
	if len(m) == 0 {
		return
	}
	s.keys = slices.AppendSeq(s.keys[:0], maps.Keys(m))
	slices.Sort(s.keys)
	for _, name := range s.keys {
		s.string(name)
		value(m[name])
	}
}
