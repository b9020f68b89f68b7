package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/store"
)

// Ways to write wrongly what a history makes of its records.
func init() {
	wrongly("records stay when they are applied", "Apply/Removes", "Apply removes records", func(b *bent) {
		b.apply = func(ctx context.Context, _ []string, c store.Changes) error { return b.Store.Apply(ctx, nil, c) }
	})
	wrongly("a record that is gone is ignored", "Apply/Once", "It returns ErrConflict", func(b *bent) {
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			err := b.Store.Apply(ctx, records, c)
			if errors.Is(err, store.ErrConflict) {
				return b.Store.Apply(ctx, nil, c)
			}
			return err
		}
	})
	wrongly("counts are added first", "Apply/AllOrNothing", "It returns ErrConflict and does nothing", func(b *bent) {
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			return errors.Join(b.Store.Apply(ctx, nil, store.Changes{Counts: c.Counts}), b.Store.Apply(ctx, records, store.Changes{Activities: c.Activities}))
		}
	})
	wrongly("the last state wins", "Apply/GreaterOrder", "takes the state of a change with a greater Order", onChange(func(have store.Activity, c *store.ActivityChange) {
		c.Order = have.Order + 1
	}))
	wrongly("of the same order the last state wins", "Apply/SameOrder", "or with the same and a greater Attempt", onChange(func(have store.Activity, c *store.ActivityChange) {
		if c.Order == have.Order {
			c.Order++
		}
	}))
	wrongly("an activity that begins takes the place of one", "Apply/Begins", "never changes what is stored", onChange(func(have store.Activity, c *store.ActivityChange) {
		if c.Begins {
			c.TrailWas = len(have.Trail)
		}
	}))
	wrongly("what is empty stays empty", "Apply/FillsEmpty", "gets what it has empty", onChange(func(_ store.Activity, c *store.ActivityChange) {
		c.Author = ""
	}))
	wrongly("the first trail stays", "Apply/Trail", "gets the Trail of the change behind its own", onChange(func(_ store.Activity, c *store.ActivityChange) {
		c.Trail = ""
	}))
	wrongly("a trail is never replaced", "Apply/TrailWas", "TrailWas, if not 0", onChange(func(_ store.Activity, c *store.ActivityChange) {
		c.TrailWas = 0
	}))
	wrongly("the first Received stays", "Apply/Received", "Its Received becomes the earlier one.", onChange(func(have store.Activity, c *store.ActivityChange) {
		c.Received = have.Received
	}))
	wrongly("so many changes are enough", "Apply/ManyAtOnce", "makes changes in one step", func(b *bent) {
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			c.Activities = c.Activities[:min(len(c.Activities), 1000)]
			return b.Store.Apply(ctx, records, c)
		}
	})
	wrongly("one change at a time", "Apply/AtTheSameTime", "atomic, durable and concurrent methods", func(b *bent) {
		var mu sync.Mutex
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			if !mu.TryLock() {
				return errors.New("busy")
			}
			defer mu.Unlock()
			time.Sleep(time.Millisecond)
			return b.Store.Apply(ctx, records, c)
		}
	})
	wrongly("recipients are erased as they are written", "Erase/Recipient", "Erase erases a recipient", func(b *bent) {
		b.erase = func(ctx context.Context, tenant store.TenantID, recipient string) (int, error) {
			if recipient != strings.ToLower(recipient) {
				return 0, nil
			}
			return b.Store.Erase(ctx, tenant, recipient)
		}
	})
	wrongly("a later change brings the recipient back", "Erase/Stays", "stay so, whatever is applied later", func(b *bent) {
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			b.recipients = func(ctx context.Context, tenant store.TenantID, mail string, f store.RecipientFilter) ([]store.Activity, error) {
				list, err := b.Store.Recipients(ctx, tenant, mail, f)
				for i := range list {
					list[i].Recipient = c.Activities[0].Recipient
				}
				return list, err
			}
			return b.Store.Apply(ctx, records, c)
		}
	})
	wrongly("no recipient is one, too", "Erase/Empty", "An empty recipient matches nothing.", func(b *bent) {
		b.erase = func(ctx context.Context, tenant store.TenantID, recipient string) (int, error) {
			n, err := b.Store.Erase(ctx, tenant, recipient)
			if recipient == "" {
				n++
			}
			return n, err
		}
	})
	wrongly("subjects are cut to fit the column", "Activities/AsGiven", "An activity that is not there is added.", func(b *bent) {
		onList(b, func(list []store.Activity) {
			for i := range list {
				list[i].Subject = list[i].Subject[:min(len(list[i].Subject), 100)]
			}
		})
	})
	wrongly("the oldest activity comes first", "Activities/NewestFirst", "newest first", func(b *bent) { onList(b, slices.Reverse) })
	wrongly("tenants are folded to lower case", "Activities/Tenant", "Activities lists activities of a tenant", func(b *bent) {
		b.activities = func(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
			return b.Store.Activities(ctx, store.TenantID(strings.ToLower(string(tenant))), f)
		}
	})
	wrongly("a filter is applied as far as it is known", "Activities/Filters", "An activity matches if it matches every field", func(b *bent) {
		b.activities = func(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
			f.States = nil
			return b.Store.Activities(ctx, tenant, f)
		}
	})
	wrongly("one form of a recipient is enough", "Activities/RecipientForms", "An activity matches if it matches every field", func(b *bent) {
		b.activities = func(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
			f.RecipientForms = nil
			return b.Store.Activities(ctx, tenant, f)
		}
	})
	wrongly("forms beyond two are ignored", "Activities/RecipientForms", "With more than two of them Activities returns an error.", func(b *bent) {
		b.activities = func(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
			f.RecipientForms = f.RecipientForms[:min(len(f.RecipientForms), 2)]
			return b.Store.Activities(ctx, tenant, f)
		}
	})
	wrongly("a recipient is looked for in recent years", "Activities/FarApart", "An activity matches if it matches every field", func(b *bent) {
		b.activities = func(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
			if f.From.IsZero() {
				f.From = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
			}
			return b.Store.Activities(ctx, tenant, f)
		}
	})
	wrongly("a page without a limit has all activities", "Activities/Pages", "zero or less means 100", func(b *bent) {
		b.activities = func(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
			if f.Limit <= 0 {
				f.Limit = 100_000
			}
			return b.Store.Activities(ctx, tenant, f)
		}
	})
	wrongly("pages are numbered", "Activities/PagesMeanwhile", "in an order that stays the same", func(b *bent) {
		b.activities = func(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
			skip := 0
			fmt.Sscan(f.After, &skip)
			limit := f.Limit
			f.After, f.Limit = "", skip+limit
			page, err := b.Store.Activities(ctx, tenant, f)
			page.List = page.List[min(skip, len(page.List)):]
			if page.Next != "" {
				page.Next = fmt.Sprint(skip + limit)
			}
			return page, err
		}
	})
	wrongly("what is far back is not found", "Activities/Many", "If Next is not empty there may be more", func(b *bent) {
		b.activities = func(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
			page, err := b.Store.Activities(ctx, tenant, store.ActivityFilter{Limit: 10_000})
			page.Next = ""
			page.List = slices.DeleteFunc(page.List, func(a store.Activity) bool { return !f.Match(&a) })
			return page, err
		}
	})
	wrongly("recipients are in no order", "Recipients/ByN", "by N", func(b *bent) {
		b.recipients = func(ctx context.Context, tenant store.TenantID, mail string, f store.RecipientFilter) ([]store.Activity, error) {
			list, err := b.Store.Recipients(ctx, tenant, mail, f)
			slices.Reverse(list)
			return list, err
		}
	})
	wrongly("a page begins behind its first recipient", "Recipients/Pages", "Recipients returns the activities of one mail", func(b *bent) {
		b.recipients = func(ctx context.Context, tenant store.TenantID, mail string, f store.RecipientFilter) ([]store.Activity, error) {
			if f.From > 0 {
				f.From++
			}
			return b.Store.Recipients(ctx, tenant, mail, f)
		}
	})
	wrongly("the states are looked for in one page", "Recipients/States", "that match the filter", func(b *bent) {
		b.recipients = func(ctx context.Context, tenant store.TenantID, mail string, f store.RecipientFilter) ([]store.Activity, error) {
			states := f.States
			f.States = nil
			list, err := b.Store.Recipients(ctx, tenant, mail, f)
			return slices.DeleteFunc(list, func(a store.Activity) bool { return len(states) > 0 && !slices.Contains(states, a.State) }), err
		}
	})
	wrongly("recipients that are not erased are returned too", "Recipients/Erased", "only erased activities are selected", func(b *bent) {
		b.recipients = func(ctx context.Context, tenant store.TenantID, mail string, f store.RecipientFilter) ([]store.Activity, error) {
			f.Erased = false
			return b.Store.Recipients(ctx, tenant, mail, f)
		}
	})
	wrongly("an ID that is not text is an error", "Recipients/AnyID", "whatever its bytes are", func(b *bent) {
		b.tenantOf = func(ctx context.Context, mail string) (store.TenantID, error) {
			if !utf8.ValidString(mail) {
				return "", errors.New("invalid byte sequence")
			}
			return b.Store.TenantOf(ctx, mail)
		}
	})
	wrongly("the states of all tenants are counted", "RecipientStates", "of one mail", func(b *bent) {
		b.states = func(ctx context.Context, tenant store.TenantID, mail string) (map[store.ActivityState]int, error) {
			states, err := b.Store.RecipientStates(ctx, tenant, mail)
			states[store.ActivityDelivered]++
			return states, err
		}
	})
	wrongly("a mail that is not there has no tenant", "TenantOf", "ErrNotFound", func(b *bent) {
		b.tenantOf = func(ctx context.Context, mail string) (store.TenantID, error) {
			tenant, err := b.Store.TenantOf(ctx, mail)
			if errors.Is(err, store.ErrNotFound) {
				return "", nil
			}
			return tenant, err
		}
	})
	wrongly("whole mails are looked up", "ActivitiesByKey", "It reads nothing else", func(b *bent) {
		b.lookup = func(ctx context.Context, keys []store.ActivityKey) (list []store.Activity, err error) {
			mails := make(map[store.ActivityKey]bool)
			for _, key := range keys {
				if key.N = 0; mails[key] {
					continue
				}
				mails[key] = true
				some, err := b.Store.Recipients(ctx, key.Tenant, key.Mail, store.RecipientFilter{Limit: 1000})
				if err != nil {
					return nil, err
				}
				list = append(list, some...)
			}
			return list, nil
		}
	})
	wrongly("counts only grow", "Counts/Add", "A count is added", func(b *bent) {
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			c.Counts = slices.Clone(c.Counts)
			for i := range c.Counts {
				c.Counts[i].Accepted = max(0, c.Counts[i].Accepted)
			}
			return b.Store.Apply(ctx, records, c)
		}
	})
	wrongly("users are summed up without their domains", "Counts/Groups", "with ByUser it has the Domain too", func(b *bent) {
		b.counts = func(ctx context.Context, tenant store.TenantID, f store.CountFilter) ([]store.Count, error) {
			list, err := b.Store.Counts(ctx, tenant, f)
			for i := range list {
				if f.By == store.ByUser {
					list[i].Domain = ""
				}
			}
			return list, err
		}
	})
	wrongly("a day is rounded up", "Expire/Activities", "rounds down to a full day", func(b *bent) {
		b.expire = func(ctx context.Context, activities, counts time.Time, limit int) (int, error) {
			return b.Store.Expire(ctx, activities.Add(24*time.Hour-1), counts, limit)
		}
	})
	wrongly("the last hour expires too", "Expire/Counts", "counts of hours before another time", func(b *bent) {
		b.expire = func(ctx context.Context, activities, counts time.Time, limit int) (int, error) {
			return b.Store.Expire(ctx, activities, counts.Add(1), limit)
		}
	})
	wrongly("all that is old expires at once", "Expire/Limit", "It removes at most limit of each", func(b *bent) {
		b.expire = func(ctx context.Context, activities, counts time.Time, limit int) (int, error) {
			return b.Store.Expire(ctx, activities, counts, 1000)
		}
	})
}

// onList makes a mistake in what Activities returns.
func onList(b *bent, change func([]store.Activity)) {
	b.activities = func(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
		page, err := b.Store.Activities(ctx, tenant, f)
		change(page.List)
		return page, err
	}
}
