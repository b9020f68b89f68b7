package storetest_test

import (
	"context"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

// These spools list other deliveries than the filter selects.

type firstTenants struct{ store.Spool }

func (s firstTenants) Deliveries(ctx context.Context, f store.Filter, page store.Page) ([]store.Leased, error) {
	list, err := s.Spool.Deliveries(ctx, f, page)
	if f.Destination != "" && f.Tenant == "" {
		list = slices.DeleteFunc(list, func(l store.Leased) bool { return l.Mail.Tenant > "t49" && l.Mail.Tenant < "t99" })
	}
	return list, err
}

type everybodys struct{ store.Spool }

func (s everybodys) Deliveries(ctx context.Context, f store.Filter, page store.Page) ([]store.Leased, error) {
	f.Tenant = ""
	return s.Spool.Deliveries(ctx, f, page)
}

type onlyTextIDs struct{ store.Spool }

func (s onlyTextIDs) Deliveries(ctx context.Context, f store.Filter, page store.Page) ([]store.Leased, error) {
	if strings.Contains(f.Mail, "\x00") {
		return nil, store.ErrNotFound
	}
	return s.Spool.Deliveries(ctx, f, page)
}
