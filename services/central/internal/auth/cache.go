package auth

import (
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// cacheSize bounds the keys held; 10,000 agents and their people fit.
const cacheSize = 32768

// cache holds keys for the seconds in which they count as fresh.
type cache struct {
	mu      sync.Mutex
	keys    map[string]cached
	touched map[uuid.UUID]time.Time
	// drops counts revocations, so that an answer which was under way meanwhile is not kept.
	drops uint64
}

type cached struct {
	key   *store.Key
	until time.Time
}

func newCache() *cache {
	return &cache{keys: map[string]cached{}, touched: map[uuid.UUID]time.Time{}}
}

func (c *cache) get(hash []byte) (*store.Key, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.keys[string(hash)]
	if !ok || !time.Now().Before(found.until) {
		return nil, false
	}
	return found.key, true
}

// peek is a key that was found, and how long it still counts as fresh.
func (c *cache) peek(hash []byte) (*store.Key, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.keys[string(hash)]
	if !ok {
		return nil, 0
	}
	return found.key, time.Until(found.until)
}

// asked is when a question to the store began.
type asked struct {
	drops uint64
	at    time.Time
}

func (c *cache) moment() asked {
	c.mu.Lock()
	defer c.mu.Unlock()
	return asked{drops: c.drops, at: time.Now()}
}

// put keeps a key, unless something was revoked after the store was asked.
func (c *cache) put(hash []byte, key *store.Key, when asked) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if when.drops != c.drops {
		return
	}
	c.shrink()
	c.keys[string(hash)] = cached{key: key, until: when.at.Add(fresh)}
}

// shrink makes room: first what is stale, and if all is fresh, everything.
func (c *cache) shrink() {
	if len(c.keys) < cacheSize {
		return
	}
	now := time.Now()
	for hash, found := range c.keys {
		if !now.Before(found.until) {
			delete(c.keys, hash)
		}
	}
	if len(c.keys) >= cacheSize {
		clear(c.keys)
	}
}

// drop forgets what was found of whoever has the id, or is of whoever has it.
func (c *cache) drop(id uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops++
	for hash, found := range c.keys {
		if slices.Contains(names(found.key), id) {
			delete(c.keys, hash)
		}
	}
}

// touch tells whether the key's use is worth noting now.
func (c *cache) touch(id uuid.UUID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if last, ok := c.touched[id]; ok && now.Sub(last) < touchEvery {
		return false
	}
	if len(c.touched) >= cacheSize {
		clear(c.touched) // noting a use twice costs one statement
	}
	c.touched[id] = now
	return true
}
