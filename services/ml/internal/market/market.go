package market

import (
	"fmt"
	"sync/atomic"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
)

// Market hands out the newest snapshot.
type Market struct {
	current atomic.Pointer[Snapshot]
}

// New market with the embedded snapshot.
func New() (*Market, error) {
	facts, err := catalogue.Load()
	if err != nil {
		return nil, fmt.Errorf("loading the instance catalogue: %w", err)
	}
	m := &Market{}
	m.current.Store(fromFacts(facts))
	return m, nil
}

// Snapshot now. Keep it for as long as one answer takes.
func (m *Market) Snapshot() *Snapshot { return m.current.Load() }

// fail marks every source as not refreshed.
func (m *Market) fail(why string) {
	next := m.Snapshot().clone()
	for name, source := range next.sources {
		source.Err = why
		next.sources[name] = source
	}
	m.current.Store(next)
}
