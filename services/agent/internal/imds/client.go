// Package imds asks an instance's metadata service what AWS is about to do to
// the instance.
package imds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	tokenLife = 6 * time.Hour // the longest that IMDSv2 grants
	// callTimeout is short, as the answer comes from the same machine. A hop
	// limit that is too small shows as a token that never comes.
	callTimeout = 2 * time.Second
	// longest answer that is read; the service's own are a few hundred bytes.
	longest = 64 << 10
)

// errNone says that the service has nothing under a path.
var errNone = errors.New("there is no such item")

// statusError is an answer that is neither an item nor the lack of one.
type statusError struct {
	path   string
	status int
}

// Error says what was asked and what was answered.
func (e *statusError) Error() string {
	return fmt.Sprintf("reading %s: the metadata service answered %d", e.path, e.status)
}

// Client speaks IMDSv2; version 1 is not tried, as it lets a forged request of
// some other process on the node read credentials and is off where that matters.
type Client struct {
	endpoint string
	http     *http.Client

	mu     sync.Mutex
	token  string
	fresh  time.Time     // until then the token is used
	offset time.Duration // AWS's clock minus ours
}

// New makes a Client of the service at an endpoint such as http://169.254.169.254.
func New(endpoint string) (*Client, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("reading the metadata endpoint: %q is no http address", endpoint)
	}
	return &Client{
		endpoint: strings.TrimRight(endpoint, "/"),
		http: &http.Client{
			Timeout: callTimeout,
			// Neither a proxy of the environment nor a redirect leads to the
			// machine that we are on.
			Transport:     &http.Transport{MaxIdleConns: 1, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// InstanceID is the instance that this process runs on.
func (c *Client) InstanceID(ctx context.Context) (string, error) {
	text, err := c.get(ctx, "/latest/meta-data/instance-id")
	if err != nil {
		return "", fmt.Errorf("asking for the instance's id: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if !strings.HasPrefix(id, "i-") || len(id) > 50 {
		return "", fmt.Errorf("asking for the instance's id: %.60q is none", id)
	}
	return id, nil
}

// Now is the time by AWS's clock as far as it is known, else by this machine's.
func (c *Client) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

// get reads one item. A token that the service refuses is replaced once: it
// forgets its tokens when it restarts.
func (c *Client) get(ctx context.Context, path string) ([]byte, error) {
	for renewed := false; ; renewed = true {
		token, err := c.currentToken(ctx, renewed)
		if err != nil {
			return nil, err
		}
		text, status, err := c.call(ctx, http.MethodGet, path, http.Header{"X-Aws-Ec2-Metadata-Token": {token}})
		switch {
		case err != nil:
			return nil, err
		case status == http.StatusOK:
			return text, nil
		case status == http.StatusNotFound:
			return nil, errNone
		case status == http.StatusUnauthorized && !renewed:
			continue
		}
		return nil, &statusError{path, status}
	}
}

func (c *Client) currentToken(ctx context.Context, renew bool) (string, error) {
	c.mu.Lock()
	token, fresh := c.token, c.fresh
	c.mu.Unlock()
	if !renew && token != "" && time.Now().Before(fresh) {
		return token, nil
	}
	seconds := fmt.Sprint(int(tokenLife.Seconds()))
	text, status, err := c.call(ctx, http.MethodPut, "/latest/api/token", http.Header{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": {seconds}})
	if err != nil {
		return "", err
	}
	if status != http.StatusOK || len(text) == 0 {
		return "", fmt.Errorf("asking for a metadata token: the service answered %d", status)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token, c.fresh = string(text), time.Now().Add(tokenLife*5/6)
	return c.token, nil
}

func (c *Client) call(ctx context.Context, method, path string, header http.Header) ([]byte, int, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.endpoint+path, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("asking the metadata service: %w", err)
	}
	req.Header = header
	sent := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("asking the metadata service: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, longest+1))
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(text) > longest {
		return nil, 0, fmt.Errorf("reading %s: the answer is too long", path)
	}
	c.setClock(resp.Header.Get("Date"), sent, time.Now())
	return text, resp.StatusCode, nil
}

// setClock learns from an answer how far this machine's clock is off AWS's, so
// that the deadline of a notice does not depend on NTP. The header has whole
// seconds: within that the clocks are taken to agree.
func (c *Client) setClock(date string, sent, received time.Time) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		return // no date, no news
	}
	least, most := theirs.Sub(received), theirs.Add(time.Second).Sub(sent)
	offset := time.Duration(0)
	if least > 0 || most < 0 {
		offset = (least + most) / 2
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = offset
}
