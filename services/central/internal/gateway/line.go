package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

const (
	// waiting is how many frames a reader may be behind before it is too slow.
	waiting = 256
	// writeWithin is how long one frame may take; a reader that hangs for longer is gone.
	writeWithin = 10 * time.Second
	// partWithin bounds the last words.
	partWithin = 5 * time.Second
)

// beat is how a line finds out that nobody is there any more.
type beat struct{ every, within time.Duration }

// line is one WebSocket that carries one gRPC stream.
type line struct {
	ws    *websocket.Conn
	cork  *cork
	beat  beat
	asked string // the request's id
	out   chan []byte
	// words are the last frame when the line ends with an error; parted: the stream has said them.
	words  func(*fault.Error) []byte
	parted atomic.Bool
	// end ends the line; the first reason counts.
	end context.CancelCauseFunc
}

// Reasons that are no errors.
var (
	errLeft  = errors.New("the other side closed the line")
	errEnded = errors.New("the stream ended")
)

// carry runs a line until either side ends it. speak reads the gRPC stream
// until its error; hear takes a frame of the other side's.
func (l *line) carry(ctx context.Context, speak func() error, hear func(kind websocket.MessageType, frame []byte)) {
	var parts sync.WaitGroup
	parts.Go(func() { l.end(speak()) })
	parts.Go(func() { l.end(l.read(context.WithoutCancel(ctx), hear)) })
	parts.Go(func() { l.ping(ctx) })
	l.write(ctx)
	l.part(context.Cause(ctx))
	parts.Wait()
}

// read must not end with the line: the library would cut the connection, and
// the last words with it.
func (l *line) read(ctx context.Context, hear func(websocket.MessageType, []byte)) error {
	for {
		kind, frame, err := l.ws.Read(ctx)
		if err != nil {
			return errLeft
		}
		hear(kind, frame)
	}
}

// say queues a frame; a reader who is too far behind ends the line rather than
// hold up the stream.
func (l *line) say(frame []byte) {
	select {
	case l.out <- frame:
	default:
		l.end(fault.New(faultv1.Reason_REASON_RATE_LIMITED, "slow reader: %d messages behind", waiting))
	}
}

// wait queues a frame and lets a reader who is behind hold up its own stream, which
// is told apart from others; false: the line has ended.
func (l *line) wait(ctx context.Context, frame []byte, patience time.Duration) bool {
	select {
	case l.out <- frame:
		return true
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case l.out <- frame:
		return true
	case <-ctx.Done():
	case <-timer.C:
		l.end(fault.New(faultv1.Reason_REASON_RATE_LIMITED, "slow reader: %d messages behind", waiting))
	}
	return false
}

func (l *line) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case frame := <-l.out:
			if err := l.put(frame, writeWithin); err != nil {
				l.end(errLeft)
				return
			}
		}
	}
}

func (l *line) put(frame []byte, within time.Duration) error {
	if len(l.out) == 0 {
		runtime.Gosched() // the rest of a burst is about to come
	}
	l.cork.hold(len(l.out) > 0) // nobody else takes frames out
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return l.ws.Write(ctx, websocket.MessageText, frame)
}

func (l *line) ping(ctx context.Context) {
	tick := time.NewTicker(l.beat.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.beat.within)
			err := l.ws.Ping(wait)
			cancel()
			if err != nil {
				l.end(errLeft)
				return
			}
		}
	}
}

// part says what is still to be said, and closes.
func (l *line) part(why error) {
	defer func() { _ = l.ws.CloseNow() }()
	if errors.Is(why, errLeft) {
		return
	}
	deadline := time.Now().Add(partWithin)
	if !l.flush(deadline) {
		return
	}
	if errors.Is(why, errEnded) {
		_ = l.ws.Close(websocket.StatusNormalClosure, "")
		return
	}
	known := *fault.From(why)
	if known.RequestID == "" {
		known.RequestID = l.asked
	}
	// The stream may have queued its last words just now, behind what was sent.
	said := l.parted.Load()
	if said {
		said = l.flush(deadline)
	} else {
		said = l.put(l.words(&known), time.Until(deadline)) == nil
	}
	if said {
		_ = l.ws.Close(closing(&known))
	}
}

// flush sends what is queued; false: the other side is gone.
func (l *line) flush(deadline time.Time) bool {
	for len(l.out) > 0 {
		if l.put(<-l.out, time.Until(deadline)) != nil {
			return false
		}
	}
	return true
}

// newLine makes a line of a request and its context, in which the gRPC stream
// is opened too.
func (g *gateway) newLine(parent context.Context, r *http.Request, ws *websocket.Conn, cork *cork) (*line, context.Context) {
	ctx, end := context.WithCancelCause(parent)
	return &line{ws: ws, cork: cork, beat: g.beat, asked: r.Header.Get("X-Request-Id"), out: make(chan []byte, waiting), words: lastWords, end: end}, ctx
}

// received is what the end of a gRPC stream means for the line.
func received(err error) error {
	if errors.Is(err, io.EOF) {
		return errEnded
	}
	if st, ok := status.FromError(err); ok && st.Code() == codes.Unavailable && len(st.Details()) == 0 {
		return fault.Unavailable("central", err) // gRPC's own words tell of connections
	}
	return err
}
