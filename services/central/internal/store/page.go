package store

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Page is a part of a list: at most Limit rows, behind the one that After names.
type Page struct {
	Limit int
	// After is the sort key and the id of the last row before; nil: from the start.
	After *Cursor
}

// Cursor is a place in a list: the value that it is sorted by, as text, and the id
// that breaks ties. Order says what it was sorted by: a cursor of another order
// leads nowhere.
type Cursor struct {
	Order string `json:"o,omitempty"`
	Key   string `json:"k,omitempty"`
	ID    string `json:"i"`
}

// number reads a cursor whose id is a number.
func (c *Cursor) number() (int64, error) {
	n, err := strconv.ParseInt(c.ID, 10, 64)
	if err != nil {
		return 0, badToken()
	}
	return n, nil
}

// uuid reads a cursor whose id is one; null without a cursor.
func (c *Cursor) uuid() (uuid.NullUUID, error) {
	if c == nil {
		return uuid.NullUUID{}, nil
	}
	id, err := uuid.Parse(c.ID)
	if err != nil {
		return uuid.NullUUID{}, badToken()
	}
	return some(id), nil
}

// moment reads a cursor whose key is a time; the zero time without a cursor.
func (c *Cursor) moment() (time.Time, error) {
	if c == nil {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, c.Key)
	if err != nil {
		return time.Time{}, badToken()
	}
	return at, nil
}

func badToken() error {
	return fault.Invalid("page_token", "must be the next_page_token of an earlier answer")
}

func numbered(n int64) Cursor { return Cursor{ID: strconv.FormatInt(n, 10)} }

// dated is a place in a list by time.
func dated(order string, at time.Time, id string) Cursor {
	return Cursor{Order: order, Key: at.UTC().Format(time.RFC3339Nano), ID: id}
}

// maxPage is how much of a list is answered at most, and usualPage when nobody says how much.
const (
	maxPage   = 1000
	usualPage = 50
)

// NewPage reads size and token of a request for a list in an order.
func NewPage(size int32, token, order string) (Page, error) {
	page := Page{Limit: min(int(size), maxPage)}
	if page.Limit <= 0 {
		page.Limit = usualPage
	}
	if token == "" {
		return page, nil
	}
	page.After = &Cursor{}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(raw, page.After)
	}
	if err != nil || page.After.ID == "" {
		return page, badToken()
	}
	if page.After.Order != order {
		return page, fault.Invalid("page_token", "must be of a list in the same order")
	}
	return page, nil
}

// Cut takes a list of up to Limit + 1 rows apart: the page, and the token of the next
// one, empty when there is none.
func Cut[T any](page Page, rows []T, place func(T) Cursor) ([]T, string, error) {
	if len(rows) <= page.Limit {
		return rows, "", nil
	}
	rows = rows[:page.Limit]
	raw, err := json.Marshal(place(rows[len(rows)-1]))
	return rows, base64.RawURLEncoding.EncodeToString(raw), err
}

// namePlace is where a list by name goes on; null: from the start.
func (p Page) namePlace() (*string, uuid.UUID, error) {
	if p.After == nil {
		return nil, uuid.Nil, nil
	}
	id, err := uuid.Parse(p.After.ID)
	if err != nil {
		return nil, uuid.Nil, badToken()
	}
	return &p.After.Key, id, nil
}

// timePlace is where a list by time goes on; null: from the start.
func (p Page) timePlace() (*time.Time, uuid.UUID, error) {
	if p.After == nil {
		return nil, uuid.Nil, nil
	}
	at, err1 := time.Parse(time.RFC3339Nano, p.After.Key)
	id, err2 := uuid.Parse(p.After.ID)
	if errors.Join(err1, err2) != nil {
		return nil, uuid.Nil, badToken()
	}
	return &at, id, nil
}

// etagOf names a version of a row.
func etagOf(version int64) string { return strconv.FormatInt(version, 10) }

// errChanged says that somebody was faster, and which version is there now.
func errChanged(kind, id, etag string) error {
	return fault.New(faultv1.Reason_REASON_CONFLICT, "%s %s was changed meanwhile: look again", kind, id).With("field", "etag").With("etag", etag)
}
