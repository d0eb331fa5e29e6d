// Package store is PostgreSQL: the only room that knows SQL, rows and transactions.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"

	"github.com/cloudoptim/cloudoptim/db"
	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/observe"
)

// Store reads and writes central's database. Inside InTx it is bound to the
// transaction, so every method can take part in one.
type Store struct {
	pool *pgxpool.Pool
	db   centraldb.DBTX
	tx   pgx.Tx
	q    *centraldb.Queries
	// locks has room for the locks that may be held at once: each keeps a
	// connection, and its holder needs others to go on.
	locks chan struct{}
	// hear is told when news is committed; told is a transaction's: it has some.
	hear *atomic.Pointer[func()]
	told *bool
}

// Open connects to dsn with at most maxConns connections. echo, if not nil, gets
// every statement.
func Open(ctx context.Context, dsn string, maxConns int, echo *slog.Logger) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("reading the database's address: it is malformed") // its text may hold the password
	}
	cfg.MaxConns = int32(max(maxConns, 4))
	cfg.ConnConfig.RuntimeParams["application_name"] = "cloudoptim-central"
	if echo != nil {
		cfg.ConnConfig.Tracer = observe.Queries(echo)
	}
	cfg.PrepareConn = prepare
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	if err := pool.Ping(ForEveryone(ctx)); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	return New(pool), nil
}

// OpenReadOnly connects to dsn for reading: PostgreSQL refuses to write.
func OpenReadOnly(ctx context.Context, dsn string) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("reading the database's address: it is malformed") // its text may hold the password
	}
	cfg.MaxConns = 2
	cfg.ConnConfig.RuntimeParams["application_name"] = "cloudoptim-central-reader"
	cfg.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	// Where rows are walled off by customer, it sees everyone's: a log with holes would look tampered with.
	cfg.ConnConfig.RuntimeParams[db.TenantSetting] = db.Everyone
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	return New(pool), nil
}

// New makes a store on a pool, whose connections must be set to a tenant already.
func New(pool *pgxpool.Pool) *Store {
	return &Store{pool: pool, db: pool, q: centraldb.New(), locks: make(chan struct{}, max(pool.Config().MaxConns/2, 1)), hear: &atomic.Pointer[func()]{}}
}

// Close ends all connections.
func (s *Store) Close() { s.pool.Close() }

// Ping tells whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.pool.Ping(ForEveryone(ctx)) }

// InTx runs fn in one transaction: all of it happens, or nothing.
func (s *Store) InTx(ctx context.Context, fn func(tx *Store) error) error {
	if s.tx != nil {
		return fn(s)
	}
	told := false
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		return fn(&Store{pool: s.pool, db: tx, tx: tx, q: s.q, locks: s.locks, hear: s.hear, told: &told})
	})
	if err == nil && told {
		s.announce()
	}
	return err
}

// inView runs fn in one read-only transaction that sees one moment.
func (s *Store) inView(ctx context.Context, fn func(tx *Store) error) error {
	if s.tx != nil {
		return fn(s)
	}
	view := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return pgx.BeginTxFunc(ctx, s.pool, view, func(tx pgx.Tx) error {
		return fn(&Store{pool: s.pool, db: tx, tx: tx, q: s.q, locks: s.locks, hear: s.hear, told: new(bool)})
	})
}

// Locked runs fn while holding a lock on key that ends with this process, or
// returns false when another holds it. It waits while too many locks are held.
func (s *Store) Locked(ctx context.Context, key string, fn func() error) (bool, error) {
	select {
	case s.locks <- struct{}{}:
		defer func() { <-s.locks }()
	case <-ctx.Done():
		return false, wrap("locking", key, ctx.Err())
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return false, wrap("locking", key, err)
	}
	defer conn.Release()
	got, err := s.q.AdvisoryLock(ctx, conn, key)
	if err != nil || !got {
		return false, wrap("locking", key, err)
	}
	defer func() {
		// A cancelled caller must not leave the lock on a pooled connection.
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := s.q.AdvisoryUnlock(release, conn, key); err != nil {
			_ = conn.Conn().Close(release)
		}
	}()
	return true, fn()
}

// wrap turns a driver's error into one a client may see, and names what was done.
func wrap(doing, subject string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.NotFound(doing, subject).Because(err)
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		switch pgErr.Code {
		case "23505":
			return fault.New(faultv1.Reason_REASON_CONFLICT, "%s %s exists already", doing, subject).
				With("constraint", pgErr.ConstraintName).Because(err)
		case "23503":
			return fault.NotFound(doing, subject).Because(err)
		case "40001", "40P01":
			return fault.Unavailable("the database", err)
		}
		return fmt.Errorf("%s %s: %w", doing, subject, err)
	}
	var connErr *pgconn.ConnectError
	if errors.As(err, &connErr) || pgconn.SafeToRetry(err) {
		return fault.Unavailable("the database", err)
	}
	return fmt.Errorf("%s %s: %w", doing, subject, err)
}

var (
	toJSON   = protojson.MarshalOptions{UseProtoNames: true}
	fromJSON = protojson.UnmarshalOptions{DiscardUnknown: true} // rows may be newer than we are
)

// encode is msg as jsonb; nil as an empty object.
func encode(msg proto.Message) ([]byte, error) {
	if msg == nil || !msg.ProtoReflect().IsValid() {
		return []byte("{}"), nil
	}
	return toJSON.Marshal(msg)
}

func decode(raw []byte, msg proto.Message) error {
	if len(raw) == 0 {
		return nil
	}
	return fromJSON.Unmarshal(raw, msg)
}

// encodeList is a JSON array of messages.
func encodeList[M proto.Message](msgs []M) ([]byte, error) {
	parts := make([]json.RawMessage, 0, len(msgs))
	for _, msg := range msgs {
		raw, err := toJSON.Marshal(msg)
		if err != nil {
			return nil, err
		}
		parts = append(parts, raw)
	}
	return json.Marshal(parts)
}

func decodeList[T any, M interface {
	*T
	proto.Message
}](raw []byte) ([]M, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return nil, err
	}
	out := make([]M, 0, len(parts))
	for _, part := range parts {
		msg := M(new(T))
		if err := fromJSON.Unmarshal(part, msg); err != nil {
			return nil, err
		}
		out = append(out, msg)
	}
	return out, nil
}

func stamp(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return timestamppb.New(*t)
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

func idText(id uuid.NullUUID) string {
	if !id.Valid {
		return ""
	}
	return id.UUID.String()
}

func some(id uuid.UUID) uuid.NullUUID { return uuid.NullUUID{UUID: id, Valid: true} }
