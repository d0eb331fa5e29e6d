package market

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue"
)

// Market hands out the newest snapshot.
type Market struct {
	current atomic.Pointer[Snapshot]
	// writing: sources are refreshed side by side, and none may undo another's.
	writing sync.Mutex
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

// change publishes a changed copy.
func (m *Market) change(do func(next *Snapshot)) {
	m.writing.Lock()
	defer m.writing.Unlock()
	next := m.Snapshot().clone()
	do(next)
	m.current.Store(next)
}
