package pack

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/fit"
)

// model is a problem prepared for questions about it.
type model struct {
	p       Problem
	offers  []offer
	byPrice []int      // offers, cheapest first
	keys    []string   // node labels that rules look at
	brands  []fit.Node // one empty node each of offers that no pod's rules tell apart
	dims    int        // resources: CPU, memory, disk, pods, then the extended ones
	asked   []int      // of them, those that any pod asks for

	masks     []*mask
	byBits    map[string]*mask
	admission map[string]*mask // by fit.Book.Admission
	ofClass   map[int]*mask    // by fit.Book.Class
}

// offer with what is derived from it.
type offer struct {
	*Offer

	price float64     // Price, near to what else is asked of many offers
	brand int         // of model.brands
	room  fit.Amounts // of an empty node, for pods
	space []float64   // room as a vector, nothing below 0
}

// mask is a set of brands of offers, each set once.
type mask struct {
	id   int
	bits []uint64
	none bool
}

func (k *mask) has(brand int) bool { return k.bits[brand>>6]>>(brand&63)&1 == 1 }

// low is the first bits.
func (k *mask) low() uint64 {
	if len(k.bits) == 0 {
		return 0
	}
	return k.bits[0]
}

// Units of the vectors, so that their numbers are of one size.
const (
	millicores = 1000
	gib        = 1 << 30
	fixedDims  = 4
	podSlots   = 3
)

func newModel(p Problem) *model {
	m := &model{p: p, byBits: map[string]*mask{}, admission: map[string]*mask{}, ofClass: map[int]*mask{}, dims: fixedDims}
	for _, pod := range p.Pods {
		m.dims = max(m.dims, fixedDims+len(p.Book.Requests(pod).Extended))
	}
	m.keys = m.labelKeys()
	m.ask()
	index := map[string]int{}
	m.offers = make([]offer, len(p.Offers))
	spaces := make([]float64, len(p.Offers)*m.dims)
	var name []byte
	for i := range p.Offers {
		o := &m.offers[i]
		o.Offer, o.price = &p.Offers[i], p.Offers[i].Price
		o.room = o.Node.Room.Minus(o.Node.Reserved)
		name = appendBrand(name[:0], &o.Node, m.keys)
		brand, ok := index[string(name)]
		if !ok {
			brand = len(m.brands)
			index[string(name)] = brand
			m.brands = append(m.brands, named(o.Node, "new"))
		}
		o.brand, o.space = brand, spaces[i*m.dims:(i+1)*m.dims]
		m.fillVector(o.space, o.room)
	}
	m.sortByPrice()
	return m
}

// ask which resources the pods ask for.
func (m *model) ask() {
	most := make([]float64, m.dims)
	seen := make([]bool, m.p.Book.Classes())
	for _, pod := range m.p.Pods {
		if class := m.p.Book.Class(pod); !seen[class] {
			seen[class] = true
			for r, v := range m.vector(m.p.Book.Requests(pod)) {
				most[r] = max(most[r], v)
			}
		}
	}
	for r, v := range most {
		if v > 0 {
			m.asked = append(m.asked, r)
		}
	}
}

// labelKeys are the node labels that any rule of the pods looks at.
func (m *model) labelKeys() []string {
	keys := map[string]bool{fit.LabelZone: true}
	seen := map[int]bool{}
	for _, pod := range m.p.Pods {
		if class := m.p.Book.Class(pod); seen[class] {
			continue
		} else {
			seen[class] = true
		}
		p := m.p.Book.Pod(pod)
		for key := range p.GetNodeSelector() {
			keys[key] = true
		}
		for _, term := range p.GetNodeAffinity() {
			for _, r := range term.GetMatchExpressions() {
				keys[r.GetKey()] = true
			}
		}
		for _, key := range m.sharedKeys(pod) {
			keys[key] = true
		}
	}
	delete(keys, fit.LabelHostname)
	return slices.Sorted(maps.Keys(keys))
}

// sortByPrice the offers, once for all who need it.
func (m *model) sortByPrice() {
	type priced struct {
		price float64
		offer int
	}
	all := make([]priced, len(m.offers))
	for i := range m.offers {
		all[i] = priced{m.offers[i].price, i}
	}
	slices.SortFunc(all, func(a, b priced) int { return cmp.Or(cmp.Compare(a.price, b.price), cmp.Compare(a.offer, b.offer)) })
	m.byPrice = make([]int, len(all))
	for i, p := range all {
		m.byPrice[i] = p.offer
	}
}

// appendBrand appends what is equal for offers that no rule about the keys tells apart.
func appendBrand(name []byte, n *fit.Node, keys []string) []byte {
	for _, key := range keys {
		value, ok := n.Labels[key]
		if ok {
			name = append(name, '=')
		}
		name = append(append(name, value...), 0)
	}
	for _, t := range n.Taints {
		for _, text := range [...]string{t.GetKey(), t.GetValue(), t.GetEffect()} {
			name = append(append(name, text...), 0)
		}
	}
	return name
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
	m.fillVector(v, a)
	return v
}

func (m *model) fillVector(v []float64, a fit.Amounts) {
	v[0], v[1] = max(0, float64(a.CPU)/millicores), max(0, float64(a.Memory)/gib)
	v[2], v[3] = max(0, float64(a.Disk)/gib), max(0, float64(a.Pods))
	for i, e := range a.Extended {
		if fixedDims+i < m.dims {
			v[fixedDims+i] = max(0, float64(e))
		}
	}
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
		k = m.mask(func(brand int) bool { return fit.Admits(m.p.Book.Pod(pod), &m.brands[brand]) })
		m.admission[key] = k
	}
	m.ofClass[class] = k
	return k
}

// mask of the brands for which in holds.
func (m *model) mask(in func(brand int) bool) *mask {
	k := &mask{bits: make([]uint64, (len(m.brands)+63)/64), none: true}
	for i := range m.brands {
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
		if k.has(m.offers[i].brand) && need.Within(m.offers[i].room) {
			return true
		}
	}
	return false
}
