package forest_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
)

// grown is a Spec of balanced trees over ten features.
func grown(trees, depth int) forest.Spec {
	draw := rand.New(rand.NewPCG(1, 2))
	spec := forest.Spec{Objective: forest.Binary, Features: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}}
	for range trees {
		var t forest.Tree
		for i := range 1<<depth - 1 {
			n := forest.Node{Feature: draw.IntN(10), Op: forest.Less, Threshold: draw.NormFloat64(), Left: 2*i + 1, Right: 2*i + 2}
			if 2*i+1 >= 1<<depth-1 {
				n.Left, n.Right = -1-(2*i+1-(1<<depth-1)), -1-(2*i+2-(1<<depth-1))
			}
			t.Nodes = append(t.Nodes, n)
		}
		for range 1 << depth {
			t.Leaves = append(t.Leaves, forest.Leaf{Value: draw.NormFloat64() / 10, Cover: 1})
		}
		spec.Trees = append(spec.Trees, t)
	}
	return spec
}

func BenchmarkProbability(b *testing.B) {
	f, err := forest.New(grown(300, 5))
	if err != nil {
		b.Fatal(err)
	}
	x := make([]float64, 10)
	for b.Loop() {
		x[0]++
		f.Probability(x)
	}
}

// BenchmarkLoad reads a file of about 28 MiB.
func BenchmarkLoad(b *testing.B) {
	var file bytes.Buffer
	if err := forest.Write(&file, grown(200, 10)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(file.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := forest.Load(forest.Native, file.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}
