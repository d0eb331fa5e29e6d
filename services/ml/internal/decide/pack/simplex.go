package pack

import "math"

const (
	pivotLeast = 1e-11 // smaller coefficients are noise
	gainLeast  = 1e-10
)

// tableau is the linear program "most of gain·y with rows·y ≤ limit, y ≥ 0" in
// condensed form: a pivot swaps the variable of a column with that of a row. All
// limits are positive when given, so y = 0 is where it starts; rows and another gain
// may come later, and it goes on from where it is.
type tableau struct {
	gain  []float64
	rows  [][]float64
	limit []float64
	inCol []int // variable of each column; y first, then slacks
	inRow []int
	given int         // rows ever added
	kept  int         // of them, the first ones, which forget keeps
	spare [][]float64 // rows forgotten
}

func newTableau(variables int) *tableau {
	t := &tableau{gain: make([]float64, variables), inCol: make([]int, variables)}
	for j := range t.inCol {
		t.inCol[j] = j
	}
	return t
}

// aim at the most of gain·y from now on.
func (t *tableau) aim(gain []float64) {
	for j, v := range t.inCol {
		t.gain[j] = 0
		if v < len(gain) {
			t.gain[j] = gain[v]
		}
	}
	for i, v := range t.inRow {
		if v < len(gain) && gain[v] != 0 {
			for j, a := range t.rows[i] {
				t.gain[j] -= gain[v] * a
			}
		}
	}
}

// add a row, in terms of y.
func (t *tableau) add(row []float64, limit float64) {
	fresh := t.fresh()
	for j, v := range t.inCol {
		if v < len(row) {
			fresh[j] = row[v]
		}
	}
	for i, v := range t.inRow {
		if v < len(row) && row[v] != 0 {
			limit -= row[v] * t.limit[i]
			for j, a := range t.rows[i] {
				fresh[j] -= row[v] * a
			}
		}
	}
	t.rows, t.limit = append(t.rows, fresh), append(t.limit, limit)
	t.inRow = append(t.inRow, len(t.inCol)+t.given)
	t.given++
}

// fresh row of zeros.
func (t *tableau) fresh() []float64 {
	if last := len(t.spare) - 1; last >= 0 {
		row := t.spare[last]
		t.spare = t.spare[:last]
		clear(row)
		return row
	}
	return make([]float64, len(t.inCol))
}

// forget rows that bind nothing, but for the first ones: they can be added again.
func (t *tableau) forget() {
	n := 0
	for i, v := range t.inRow {
		if slack := v - len(t.inCol); slack < t.kept {
			t.rows[n], t.rows[i] = t.rows[i], t.rows[n]
			t.limit[n], t.inRow[n] = t.limit[i], v
			n++
		}
	}
	t.spare = append(t.spare, t.rows[n:]...)
	t.rows, t.limit, t.inRow = t.rows[:n], t.limit[:n], t.inRow[:n]
}

// solve it, from wherever it is. It ends early if it takes too long: what uses the
// result puts up with that.
func (t *tableau) solve() {
	most := 20 * (len(t.gain) + len(t.rows))
	for range most {
		row := t.broken()
		if row < 0 {
			break
		}
		col := t.mending(row)
		if col < 0 {
			break
		}
		t.pivot(row, col)
	}
	for range most {
		col := t.entering()
		if col < 0 {
			break
		}
		row := t.leaving(col)
		if row < 0 {
			break
		}
		t.pivot(row, col)
	}
}

// y as it is.
func (t *tableau) y() []float64 {
	y := make([]float64, len(t.inCol))
	for i, v := range t.inRow {
		if v < len(y) {
			y[v] = max(0, t.limit[i])
		}
	}
	return y
}

// broken is the row that is broken most, -1 if none is.
func (t *tableau) broken() int {
	worst, least := -1, -gainLeast
	for i, limit := range t.limit {
		if limit < least {
			worst, least = i, limit
		}
	}
	return worst
}

// mending is the column that mends a row for the least gain lost.
func (t *tableau) mending(row int) int {
	best, least := -1, math.Inf(1)
	for j, a := range t.rows[row] {
		if a < -pivotLeast {
			if ratio := min(0, t.gain[j]) / a; ratio < least {
				best, least = j, ratio
			}
		}
	}
	return best
}

func (t *tableau) entering() int {
	best, most := -1, gainLeast
	for j, g := range t.gain {
		if g > most {
			best, most = j, g
		}
	}
	return best
}

func (t *tableau) leaving(col int) int {
	best, least := -1, math.Inf(1)
	for i, row := range t.rows {
		if row[col] <= pivotLeast {
			continue
		}
		ratio := max(0, t.limit[i]) / row[col]
		if ratio < least-1e-15 || ratio <= least && best >= 0 && t.inRow[i] < t.inRow[best] {
			best, least = i, ratio
		}
	}
	return best
}

func (t *tableau) pivot(r, c int) {
	row := t.rows[r]
	inverse := 1 / row[c]
	for j := range row {
		row[j] *= inverse
	}
	row[c] = inverse
	t.limit[r] *= inverse
	for i, other := range t.rows {
		if f := other[c]; i != r && f != 0 {
			eliminate(other, row, f, c, inverse)
			t.limit[i] -= f * t.limit[r]
		}
	}
	if f := t.gain[c]; f != 0 {
		eliminate(t.gain, row, f, c, inverse)
	}
	t.inRow[r], t.inCol[c] = t.inCol[c], t.inRow[r]
}

func eliminate(target, row []float64, f float64, c int, inverse float64) {
	target = target[:len(row)]
	for j, v := range row {
		target[j] -= f * v
	}
	target[c] = -f * inverse
}
