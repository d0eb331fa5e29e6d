package forest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

const (
	// maxNesting of JSON values.
	maxNesting = 32
	// maxKeys of one JSON object.
	maxKeys = 512
	// maxDigits of one number.
	maxDigits = 64
)

// walker reads JSON token by token, so that nothing is kept before its limit is
// checked. It knows where it is, for refusals.
type walker struct {
	dec *json.Decoder
	// path of the value in hand: keys, and indices as numbers.
	path []step
}

// step into an object by key, index being −1, or into an array by index.
type step struct {
	key   string
	index int
}

func walk(raw []byte) *walker {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return &walker{dec: dec}
}

// end makes sure that nothing follows.
func (w *walker) end() error {
	if _, err := w.dec.Token(); !errors.Is(err, io.EOF) {
		return w.refuse("something follows the end")
	}
	return nil
}

func (w *walker) refuse(reason string, args ...any) error {
	return &Refusal{Field: w.field(), At: fmt.Sprintf("byte %d", w.dec.InputOffset()), Reason: fmt.Sprintf(reason, args...)}
}

// field is the path as text, e.g. trees[3].nodes.
func (w *walker) field() string {
	if len(w.path) == 0 {
		return "file"
	}
	var text []byte
	for _, s := range w.path {
		switch {
		case s.index >= 0:
			text = fmt.Appendf(text, "[%d]", s.index)
		case len(text) > 0:
			text = append(text, '.')
			fallthrough
		default:
			text = append(text, short(s.key)...)
		}
	}
	return string(text)
}

func (w *walker) token() (json.Token, error) {
	token, err := w.dec.Token()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, w.refuse("the file ends here: it is cut off")
	case err != nil:
		return nil, w.refuse("no JSON: %s", err)
	}
	return token, nil
}

func (w *walker) open(delim json.Delim, kind string) error {
	token, err := w.token()
	if err == nil && token != delim {
		err = w.refuse("must be %s", kind)
	}
	if err == nil && len(w.path) >= maxNesting {
		err = w.refuse("is nested deeper than %d", maxNesting)
	}
	return err
}

// object calls take for each key, of which each may be there once; take must read
// its value.
func (w *walker) object(take func(key string) error) error {
	if err := w.open('{', "an object"); err != nil {
		return err
	}
	var seen []string
	for w.dec.More() {
		token, err := w.token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return w.refuse("a key must be text")
		}
		if slices.Contains(seen, key) {
			return w.refuse("the key %s is repeated", quote(key))
		}
		if seen = append(seen, key); len(seen) > maxKeys {
			return w.refuse("has more than %d keys", maxKeys)
		}
		w.path = append(w.path, step{key: key, index: -1})
		if err := take(key); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
	_, err := w.token()
	return err
}

// array calls take for each element, at most most times.
func (w *walker) array(most int, take func(i int) error) error {
	if err := w.open('[', "a list"); err != nil {
		return err
	}
	for i := 0; w.dec.More(); i++ {
		if i >= most {
			return w.refuse("has more than %d entries", most)
		}
		w.path = append(w.path, step{index: i})
		if err := take(i); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
	_, err := w.token()
	return err
}

// skip a value of no interest. The decoder holds it, and bounds its nesting.
func (w *walker) skip() error {
	var value json.RawMessage
	switch err := w.dec.Decode(&value); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return w.refuse("the file ends here: it is cut off")
	case err != nil:
		return w.refuse("no JSON: %s", err)
	}
	return nil
}

func (w *walker) text() (string, error) {
	token, err := w.token()
	if err != nil {
		return "", err
	}
	text, ok := token.(string)
	if !ok {
		return "", w.refuse("must be text")
	}
	return text, nil
}

func (w *walker) flag() (bool, error) {
	token, err := w.token()
	if err != nil {
		return false, err
	}
	switch v := token.(type) {
	case bool:
		return v, nil
	case json.Number: // XGBoost before 2 wrote 0 and 1
		if v == "0" || v == "1" {
			return v == "1", nil
		}
	}
	return false, w.refuse("must be true or false")
}

// number is finite.
func (w *walker) number() (float64, error) {
	digits, err := w.digits()
	if err != nil {
		return 0, err
	}
	return w.parse(digits, 64)
}

// digits of a number, as written.
func (w *walker) digits() (string, error) {
	token, err := w.token()
	if err != nil {
		return "", err
	}
	digits, ok := token.(json.Number)
	if !ok {
		return "", w.refuse("must be a number")
	}
	return string(digits), nil
}

// parse a number of 32 or 64 bits that came as text or as itself.
func (w *walker) parse(digits string, bits int) (float64, error) {
	if len(digits) > maxDigits {
		return 0, w.refuse("is a number of more than %d characters", maxDigits)
	}
	v, err := strconv.ParseFloat(digits, bits)
	if err != nil || !finite(v) {
		return 0, w.refuse("%s is not a finite number", quote(digits))
	}
	return v, nil
}

// whole is a number from least to most.
func (w *walker) whole(least, most int) (int, error) {
	v, err := w.number()
	if err != nil {
		return 0, err
	}
	return w.within(v, least, most)
}

func (w *walker) within(v float64, least, most int) (int, error) {
	if v != math.Trunc(v) || v < float64(least) || v > float64(most) {
		return 0, w.refuse("must be a whole number from %d to %d", least, most)
	}
	return int(v), nil
}

// list reads at most most elements by read.
func list[T any](w *walker, most int, read func() (T, error)) ([]T, error) {
	var all []T
	err := w.array(most, func(int) error {
		v, err := read()
		all = append(all, v)
		return err
	})
	return all, err
}
