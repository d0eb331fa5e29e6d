package pack

import (
	"fmt"
	"maps"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// model is a problem prepared for questions about it.
type model struct {
	p      Problem
	offers []offer
	dims   int // resources: CPU, memory, disk, pods, then the extended ones

	masks     []*mask
	byBits    map[string]*mask
	admission map[string]*mask // by fit.Book.Admission
	ofClass   map[int]*mask    // by fit.Book.Class
}

// offer with what is derived from it.
type offer struct {
	Offer

	room  fit.Amounts // of an empty node, for pods
	space []float64   // room as a vector, nothing below 0
}

// mask is a set of offers, each set once.
type mask struct {
	id   int
	bits []uint64
	none bool
}

func (k *mask) has(offer int) bool { return k.bits[offer>>6]>>(offer&63)&1 == 1 }

// Units of the vectors, so that their numbers are of one size.
const (
	millicores = 1000
	gib        = 1 << 30
	fixedDims  = 4
)

func newModel(p Problem) *model {
	m := &model{p: p, byBits: map[string]*mask{}, admission: map[string]*mask{}, ofClass: map[int]*mask{}, dims: fixedDims}
	for _, pod := range p.Pods {
		m.dims = max(m.dims, fixedDims+len(p.Book.Requests(pod).Extended))
	}
	for i, o := range p.Offers {
		o.Node = named(o.Node, fmt.Sprintf("offer-%d", i))
		room := o.Node.Room.Minus(o.Node.Reserved)
		m.offers = append(m.offers, offer{Offer: o, room: room, space: m.vector(room)})
	}
	return m
}

// named is a copy of an empty node with a name of its own.
func named(n fit.Node, name string) fit.Node {
	n.Name = name
	labels := make(map[string]string, len(n.Labels)+1)
	maps.Copy(labels, n.Labels)
	labels[fit.LabelHostname] = name
	n.Labels = labels
	return n
}

// vector of amounts.
func (m *model) vector(a fit.Amounts) []float64 {
	v := make([]float64, m.dims)
	v[0], v[1] = max(0, float64(a.CPU)/millicores), max(0, float64(a.Memory)/gib)
	v[2], v[3] = max(0, float64(a.Disk)/gib), max(0, float64(a.Pods))
	for i, e := range a.Extended {
		if fixedDims+i < m.dims {
			v[fixedDims+i] = max(0, float64(e))
		}
	}
	return v
}

// maskOf is the offers that admit a pod when empty.
func (m *model) maskOf(pod int) *mask {
	class := m.p.Book.Class(pod)
	if k, ok := m.ofClass[class]; ok {
		return k
	}
	key := m.p.Book.Admission(pod)
	k, ok := m.admission[key]
	if !ok {
		k = m.mask(func(i int) bool { return fit.Admits(m.p.Book.Pod(pod), &m.offers[i].Node) })
		m.admission[key] = k
	}
	m.ofClass[class] = k
	return k
}

// mask of the offers for which in holds.
func (m *model) mask(in func(offer int) bool) *mask {
	k := &mask{bits: make([]uint64, (len(m.offers)+63)/64), none: true}
	for i := range m.offers {
		if in(i) {
			k.bits[i>>6] |= 1 << (i & 63)
			k.none = false
		}
	}
	key := fmt.Sprint(k.bits)
	if known, ok := m.byBits[key]; ok {
		return known
	}
	k.id = len(m.masks)
	m.masks = append(m.masks, k)
	m.byBits[key] = k
	return k
}

// holds says whether the pods of a need can be on an empty node of some offer of the mask.
func (m *model) holds(k *mask, need fit.Amounts) bool {
	for i := range m.offers {
		if k.has(i) && need.Within(m.offers[i].room) {
			return true
		}
	}
	return false
}
