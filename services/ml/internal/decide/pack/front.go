package pack

import (
	"cmp"
	"slices"
	"strconv"
)

// front is the offers worth looking at for pods of some masks: those that no other beats.
type front struct {
	kinds  []kind
	offers []int // of all kinds, cheapest first
}

// kind is offers which the same masks admit.
type kind struct {
	admits []int // of the masks
	offers []int
	users  []uint64 // admits as bits
}

// front of some offers, cheapest first, for the masks.
func (m *model) front(masks []*mask, from []int) *front {
	f := &front{}
	ofBrand := f.split(m, masks)
	for _, i := range from {
		if at := ofBrand[m.offers[i].brand]; at >= 0 && m.offers[i].room.Pods > 0 {
			f.kinds[at].offers = append(f.kinds[at].offers, i)
		}
	}
	for i := range f.kinds {
		f.kinds[i].offers = m.unbeaten(f.kinds[i].offers)
	}
	m.acrossKinds(f.kinds)
	for i := range f.kinds {
		f.offers = append(f.offers, f.kinds[i].offers...)
	}
	slices.SortFunc(f.offers, func(a, b int) int {
		return cmp.Or(cmp.Compare(m.offers[a].price, m.offers[b].price), cmp.Compare(a, b))
	})
	return f
}

// split the brands into kinds. It returns the kind of each, -1 for those that admit nobody.
func (f *front) split(m *model, masks []*mask) (ofBrand []int) {
	index := map[string]int{}
	ofBrand = make([]int, len(m.brands))
	for brand := range m.brands {
		k := kind{users: make([]uint64, len(masks)/64+1)}
		var key []byte
		for i, of := range masks {
			if of.has(brand) {
				k.admits = append(k.admits, i)
				k.users[i>>6] |= 1 << (i & 63)
				key = strconv.AppendInt(append(key, ' '), int64(i), 36)
			}
		}
		if ofBrand[brand] = -1; len(k.admits) == 0 {
			continue
		}
		at, ok := index[string(key)]
		if !ok {
			at = len(f.kinds)
			index[string(key)] = at
			f.kinds = append(f.kinds, k)
		}
		ofBrand[brand] = at
	}
	return ofBrand
}

// unbeaten offers of one kind, of which the cheapest come first.
func (m *model) unbeaten(offers []int) (best []int) {
	for _, i := range offers {
		at := len(best) - 1
		for at >= 0 && !m.beats(best[at], i) { // the dearest first: they are the largest
			at--
		}
		if at < 0 {
			best = append(best, i)
		}
	}
	return best
}

// acrossKinds drops offers that are beaten by one which admits more.
func (m *model) acrossKinds(kinds []kind) {
	for a := range kinds {
		for b := range kinds {
			if a == b || !includes(kinds[b].users, kinds[a].users) {
				continue
			}
			kinds[a].offers = slices.DeleteFunc(kinds[a].offers, func(i int) bool {
				return slices.ContainsFunc(kinds[b].offers, func(other int) bool { return m.beats(other, i) })
			})
		}
	}
}

func includes(all, some []uint64) bool {
	for i, v := range some {
		if v&^all[i] != 0 {
			return false
		}
	}
	return true
}

// beats says whether any number of the one offer can be had, it costs no more than
// the other, and has room for whatever the other has.
func (m *model) beats(one, other int) bool {
	a, b := &m.offers[one], &m.offers[other]
	if a.price > b.price {
		return false
	}
	for _, r := range m.asked {
		if a.space[r] < b.space[r] {
			return false
		}
	}
	return a.Max == 0 && (len(a.Node.Ports) == 0 || slices.Equal(a.Node.Ports, b.Node.Ports))
}
