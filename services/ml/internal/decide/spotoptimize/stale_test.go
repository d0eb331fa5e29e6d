package spotoptimize

import (
	"slices"
	"testing"
)

func TestAnAnswerNamesTheSourcesThatAreTooOld(t *testing.T) {
	a := decideOK(t, request(three(t), nil))
	stale, ok := a.Metadata.AsMap()["stale_sources"].([]any)
	if !ok || !slices.Contains(stale, any("spot_prices")) || !slices.Contains(stale, any("spot_advisor")) {
		t.Errorf("stale sources %v, want those of the embedded snapshot that are", a.Metadata.AsMap()["stale_sources"])
	}
}
