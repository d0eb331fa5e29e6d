// Package calibrate maps what a model says to what then happens: of cases given
// 30 %, three in ten.
package calibrate

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Methods of calibration.
const (
	// Platt fits a straight line to log-odds (Platt 1999): two numbers, so a few
	// hundred rows are enough.
	Platt = "platt"
	// Isotonic fits any rising curve (Zadrozny & Elkan 2002): needs thousands of rows.
	Isotonic = "isotonic"
)

// Map is a fitted calibration; the zero value changes nothing.
type Map struct {
	// Method is platt, isotonic or empty.
	Method string `json:"method,omitempty"`
	// Slope and Intercept on log-odds, of platt.
	Slope     float64 `json:"slope,omitempty"`
	Intercept float64 `json:"intercept,omitempty"`
	// X and Y are the corners of the curve in log-odds, of isotonic; linear between
	// them, level outside.
	X []float64 `json:"x,omitempty"`
	Y []float64 `json:"y,omitempty"`
}

const (
	// edge keeps probabilities off 0 and 1, where log-odds end: nothing is certain.
	edge = 1e-6
	// leastRows below which an isotonic fit is not considered.
	leastRows = 2000
	// mostCorners of a curve that is read from a file.
	mostCorners = 10000
)

func logit(p float64) float64 {
	p = min(max(p, edge), 1-edge)
	return math.Log(p / (1 - p))
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// Apply to a probability. The result rises with p, if only weakly.
func (m *Map) Apply(p float64) float64 {
	switch m.Method {
	case Platt:
		return sigmoid(m.Slope*logit(p) + m.Intercept)
	case Isotonic:
		return sigmoid(m.curve(logit(p)))
	}
	return p
}

func (m *Map) curve(x float64) float64 {
	i := sort.SearchFloat64s(m.X, x)
	switch {
	case i == 0:
		return m.Y[0]
	case i == len(m.X):
		return m.Y[len(m.Y)-1]
	}
	share := (x - m.X[i-1]) / (m.X[i] - m.X[i-1])
	return m.Y[i-1] + share*(m.Y[i]-m.Y[i-1])
}

// Check a map that comes from a file.
func (m *Map) Check() error {
	switch m.Method {
	case "":
		return nil
	case Platt:
		if !(m.Slope > 0) || math.IsInf(m.Slope, 0) || math.IsNaN(m.Intercept) || math.IsInf(m.Intercept, 0) {
			return fmt.Errorf("platt needs a slope above 0 and a finite intercept, has %v and %v", m.Slope, m.Intercept)
		}
		return nil
	case Isotonic:
		return m.checkCurve()
	}
	return fmt.Errorf("unknown method %q", m.Method)
}

func (m *Map) checkCurve() error {
	if len(m.X) == 0 || len(m.X) != len(m.Y) || len(m.X) > mostCorners {
		return fmt.Errorf("isotonic needs as many x as y, 1 to %d, has %d and %d", mostCorners, len(m.X), len(m.Y))
	}
	for i := range m.X {
		if math.IsNaN(m.X[i]) || math.IsInf(m.X[i], 0) || math.IsNaN(m.Y[i]) || math.IsInf(m.Y[i], 0) {
			return errors.New("isotonic has a corner that is not a number")
		}
		if i > 0 && (m.X[i] <= m.X[i-1] || m.Y[i] < m.Y[i-1]) {
			return errors.New("isotonic must rise")
		}
	}
	return nil
}

// Case to fit to.
type Case struct {
	// P is the probability given, Y the share of 0 to 1 that happened, W its weight.
	P, Y, W float64
	// Block names cases that belong together, such as those of a day.
	Block int
}

// Fit the method that does better on cases it has not seen: each half of the blocks
// judges the fit of the other. The simpler one is taken unless it does worse.
func Fit(all []Case) Map {
	losses := map[string]float64{"": 0, Platt: 0, Isotonic: 0}
	for half := range 2 {
		var in, out []Case
		for _, c := range all {
			if c.Block%2 == half {
				in = append(in, c)
			} else {
				out = append(out, c)
			}
		}
		for method := range losses {
			m := fitted(method, in)
			losses[method] += loss(&m, out)
		}
	}
	best := ""
	for _, method := range []string{Platt, Isotonic} {
		if method == Isotonic && len(all) < leastRows {
			continue
		}
		if losses[method] < losses[best] {
			best = method
		}
	}
	return fitted(best, all)
}

func fitted(method string, all []Case) Map {
	switch {
	case len(all) == 0:
	case method == Platt:
		return FitPlatt(all)
	case method == Isotonic:
		return FitIsotonic(all)
	}
	return Map{}
}

func loss(m *Map, all []Case) float64 {
	sum := 0.0
	for _, c := range all {
		q := min(max(m.Apply(c.P), edge), 1-edge)
		sum -= c.W * (c.Y*math.Log(q) + (1-c.Y)*math.Log(1-q))
	}
	return sum
}

// FitPlatt by Newton's method on the log-loss, with a weak pull to no change.
func FitPlatt(all []Case) Map {
	const pull, rounds = 1.0, 50
	a, b := 1.0, 0.0
	for range rounds {
		ga, gb := pull*(a-1), pull*b
		haa, hab, hbb := pull, 0.0, pull
		for _, c := range all {
			x := logit(c.P)
			q := sigmoid(a*x + b)
			w := c.W * q * (1 - q)
			ga, gb = ga+c.W*(q-c.Y)*x, gb+c.W*(q-c.Y)
			haa, hab, hbb = haa+w*x*x, hab+w*x, hbb+w
		}
		det := haa*hbb - hab*hab
		da, db := (hbb*ga-hab*gb)/det, (haa*gb-hab*ga)/det
		a, b = a-da, b-db
		if math.Abs(da)+math.Abs(db) < 1e-10 {
			break
		}
	}
	if !(a > 0) || math.IsInf(a, 0) { // what it says is no use: do not turn it round
		return Map{}
	}
	return Map{Method: Platt, Slope: a, Intercept: b}
}

// block of neighbours with one value.
type block struct{ x, y, n float64 }

// FitIsotonic pools adjacent violators, then draws lines through the blocks'
// middles, so that neighbours are told apart. Half a case each way is added to a
// block, so that none is certain.
func FitIsotonic(all []Case) Map {
	order := slices.Clone(all)
	slices.SortStableFunc(order, func(a, b Case) int { return cmp.Compare(a.P, b.P) })
	var blocks []block
	for _, c := range order {
		if c.W <= 0 {
			continue
		}
		next := block{x: logit(c.P), y: c.Y, n: c.W}
		if k := len(blocks) - 1; k >= 0 && blocks[k].x == next.x { // equal p: one value
			next = merge(blocks[k], next)
			blocks = blocks[:k]
		}
		blocks = append(blocks, next)
		for k := len(blocks) - 1; k > 0 && blocks[k-1].y >= blocks[k].y; k = len(blocks) - 1 {
			blocks[k-1] = merge(blocks[k-1], blocks[k])
			blocks = blocks[:k]
		}
	}
	m := Map{Method: Isotonic}
	for _, b := range blocks {
		v := logit((b.y*b.n + 0.5) / (b.n + 1))
		if k := len(m.Y) - 1; k >= 0 {
			v = max(v, m.Y[k])
			if b.x <= m.X[k] {
				continue
			}
		}
		m.X, m.Y = append(m.X, b.x), append(m.Y, v)
	}
	return m
}

func merge(a, b block) block {
	n := a.n + b.n
	return block{x: (a.x*a.n + b.x*b.n) / n, y: (a.y*a.n + b.y*b.n) / n, n: n}
}
