package fit

import (
	"encoding/binary"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// speller spells everything about a pod that the filters look at, equal only for
// pods that are alike to them. What most pods have it spells itself, since a book of
// many pods is mostly this; the rest as the messages are on the wire.
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
	if p.GetTerminating() {
		s.number(1)
	} else {
		s.number(0)
	}
	spellMap(s, p.GetNodeSelector(), s.string)
	spellAll(s, p.GetTolerations(), func(t *fleetv1.Toleration) {
		s.string(t.GetKey())
		s.string(t.GetOperator())
		s.string(t.GetValue())
		s.string(t.GetEffect())
	})
	spellAll(s, p.GetVolumeZones(), s.string)
	spellAll(s, p.GetHostPorts(), func(port int32) { s.number(int64(port)) })
	spellAll(s, p.GetNodeAffinity(), func(t *fleetv1.NodeSelectorTerm) { s.message(t) })
	spellAll(s, p.GetPodAffinity(), func(t *fleetv1.PodAffinityTerm) { s.message(t) })
	spellAll(s, p.GetPodAntiAffinity(), func(t *fleetv1.PodAffinityTerm) { s.message(t) })
	spellAll(s, p.GetTopologySpread(), func(t *fleetv1.TopologySpread) { s.message(t) })
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

func (s *speller) message(m proto.Message) {
	s.string(key(m))
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
