package gateway

import (
	"bufio"
	"net"
	"net/http"
	"sync"
)

// corkAtMost bounds what is held back for one line.
const corkAtMost = 16 << 10

// corks are buffers for what is held back.
var corks = sync.Pool{New: func() any {
	held := make([]byte, 0, corkAtMost)
	return &held
}}

// cork is a connection that holds back what is written while more comes right
// behind it: a burst of frames becomes one call of the system, where the library
// makes one for each, and most of what a frame costs is that.
type cork struct {
	net.Conn
	mu   sync.Mutex
	more bool
	held *[]byte
}

// hold says whether more comes right behind what is written next.
func (c *cork) hold(more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.more = more
}

// Write sends p and what was held back, or holds it back.
func (c *cork) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil && !c.more {
		return c.Conn.Write(p)
	}
	if c.held == nil {
		c.held, _ = corks.Get().(*[]byte)
	}
	*c.held = append(*c.held, p...)
	if c.more && len(*c.held) < corkAtMost {
		return len(p), nil
	}
	_, err := c.Conn.Write(*c.held)
	if cap(*c.held) <= 2*corkAtMost { // one that grew with a large frame is not kept
		*c.held = (*c.held)[:0]
		corks.Put(c.held)
	}
	c.held = nil
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// corked lets the library take over a connection with a cork.
type corked struct {
	http.ResponseWriter
	cork *cork
}

// Hijack hands the connection out. Nothing is lost with its writer: net/http has
// flushed the header by then.
func (w *corked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.cork = &cork{Conn: conn}
	return w.cork, bufio.NewReadWriter(brw.Reader, bufio.NewWriter(w.cork)), nil
}
