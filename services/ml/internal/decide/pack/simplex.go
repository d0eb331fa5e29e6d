package pack

import "math"

const (
	pivotLeast = 1e-11 // smaller coefficients are noise
	gainLeast  = 1e-10
)

// tableau is the linear program "most of gain·y with rows·y ≤ limit, y ≥ 0" in
// condensed form: a pivot swaps one variable of a column with one of a row. All
// limits are positive, so y = 0 is where it starts.
type tableau struct {
	gain  []float64
	rows  [][]float64
	limit []float64
	inCol []int // variable of each column; y first, then slacks
	inRow []int
}

// maximize returns the best y, or the best found if it takes too long.
func maximize(gain []float64, rows [][]float64, limit []float64) []float64 {
	n, m := len(gain), len(rows)
	t := &tableau{gain: append([]float64(nil), gain...), limit: append([]float64(nil), limit...), inCol: make([]int, n), inRow: make([]int, m)}
	for i, row := range rows {
		t.rows = append(t.rows, append([]float64(nil), row...))
		t.inRow[i] = n + i
	}
	for j := range t.inCol {
		t.inCol[j] = j
	}
	for range 40 * (n + m) {
		col := t.entering()
		if col < 0 {
			break
		}
		row := t.leaving(col)
		if row < 0 {
			break // without limit: cannot be, and what there is stays feasible
		}
		t.pivot(row, col)
	}
	y := make([]float64, n)
	for i, v := range t.inRow {
		if v < n {
			y[v] = max(0, t.limit[i])
		}
	}
	return y
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
		ratio := t.limit[i] / row[col]
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
			t.limit[i] = max(0, t.limit[i]-f*t.limit[r])
		}
	}
	if f := t.gain[c]; f != 0 {
		eliminate(t.gain, row, f, c, inverse)
	}
	t.inRow[r], t.inCol[c] = t.inCol[c], t.inRow[r]
}

func eliminate(target, row []float64, f float64, c int, inverse float64) {
	for j, v := range row {
		target[j] -= f * v
	}
	target[c] = -f * inverse
}
