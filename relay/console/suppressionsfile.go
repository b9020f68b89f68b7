package console

import (
	"encoding/csv"
	"net/http"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// suppressionsFile sends the list as a CSV file (RFC 4180), all pages of it.
func (req *request) suppressionsFile() (response, error) {
	f, _, page, err := req.suppressionFilter()
	if err != nil {
		return response{}, err
	}
	page = store.Page{Search: page.Search, Limit: maxPageSize}
	list, err := req.h.Suppressions.Addresses(req.ctx(), req.tenantID, f, page)
	if err != nil {
		return response{}, err
	}
	header := req.header()
	header.Set("Content-Type", "text/csv; charset=utf-8")
	header.Set("Content-Disposition", `attachment; filename="suppressions.csv"`)
	if req.r.Method == http.MethodHead {
		return response{sent: true}, nil
	}
	file := csv.NewWriter(req.w)
	file.UseCRLF = true
	file.Write([]string{"address", "source", "since", "until", "reason"})
	for {
		for _, su := range list {
			file.Write(suppressionRow(su))
		}
		if file.Flush(); file.Error() != nil || len(list) < maxPageSize {
			return response{sent: true}, nil
		}
		page.After = list[len(list)-1].Address
		if list, err = req.h.Suppressions.Addresses(req.ctx(), req.tenantID, f, page); err != nil {
			req.site.logger.ErrorContext(req.ctx(), "console: a file was cut short", "error", err)
			panic(http.ErrAbortHandler) // so that the client does not take it for the whole list
		}
	}
}

// suppressionRow returns a row of the file. Another server may have chosen the
// words, so that none may begin as a formula of a spreadsheet does.
func suppressionRow(su store.Suppression) []string {
	until := ""
	if !su.Until.IsZero() {
		until = su.Until.Format(time.RFC3339)
	}
	row := []string{su.Address, suppressionSources[su.Source], su.Since.Format(time.RFC3339), until, strings.ToValidUTF8(su.Reason, "\uFFFD")}
	for i, text := range row {
		if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
			row[i] = "'" + text
		}
	}
	return row
}
