// SPDX-License-Identifier: Apache-2.0
// The rules of an AXI bus, watched at its wires: ARM IHI 0022E, of which each message names the section.
//
// Written from the standard; it knows nothing of what drives the wires, so it judges both ends. One call of `cycle` is one rising
// edge of ACLK, given the levels just before it. An AXI4-Lite bus is one whose bursts have one beat of the full width (B1.1): its
// constants are for the caller to fill in. What no monitor can see is not here: that VALID does not wait for READY, and that answers
// come at all.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <tuple>

namespace axi {

constexpr uint32_t kFixed = 0, kIncr = 1, kWrap = 2;
constexpr uint32_t kExclusive = 1;
constexpr uint32_t kExokay = 1;

struct Address {
    bool valid = false, ready = false;
    uint64_t addr = 0;
    uint32_t id = 0, len = 0, size = 0, burst = kIncr, lock = 0, cache = 0, prot = 0;
    auto payload() const { return std::tie(addr, id, len, size, burst, lock, cache, prot); }
    uint64_t bytes() const { return uint64_t(1) << size; }
    uint64_t aligned() const { return addr / bytes() * bytes(); }
    uint64_t total() const { return bytes() * (len + 1); }
};

struct ReadData {
    bool valid = false, ready = false;
    uint64_t data = 0;
    uint32_t id = 0, resp = 0;
    bool last = true;
    auto payload() const { return std::tie(data, id, resp, last); }
};

struct WriteData {
    bool valid = false, ready = false;
    uint64_t data = 0;
    uint32_t id = 0, strb = 0;
    bool last = true;
    auto payload() const { return std::tie(data, id, strb, last); }
};

struct Response {
    bool valid = false, ready = false;
    uint32_t id = 0, resp = 0;
    auto payload() const { return std::tie(id, resp); }
};

struct Bus {
    bool resetn = true;
    Address ar;
    ReadData r;
    Address aw;
    WriteData w;
    Response b;
};

class Rules {
  public:
    // `bytes`: width of the data. `longest`: beats of a burst; 16 is what AXI3 and AXI4 both allow of every type (A3.4.1). `settle`:
    // cycles of reset after which nothing may be valid; 1 for a synchronous one.
    Rules(uint32_t bytes, uint32_t longest, uint32_t settle = 1) : bytes_(bytes), longest_(longest), settle_(settle) {}

    // The first broken rule, empty if there was none.
    const std::string& broken() const { return broken_; }
    void forgive() { broken_.clear(); }

    // Bursts whose last answer has not come.
    size_t unanswered() const { return reads_.size() + addresses_.size() + written_.size(); }

    // What a reset does, of both ends, that the wires do not show.
    void forget() {
        was_ = {}, reads_.clear(), addresses_.clear(), beats_.clear(), written_.clear(), beat_ = 0;
    }

    void cycle(const Bus& now) {
        reset(now);
        if (!now.resetn) return;
        stable("AR", was_.ar, now.ar), stable("R", was_.r, now.r);
        stable("AW", was_.aw, now.aw), stable("W", was_.w, now.w), stable("B", was_.b, now.b);
        // Answers first: nothing in a cycle answers what is asked in it, as no output depends on an input at once (A3.1.1).
        read_data(now.r);
        response(now.b);
        address("AR", now.ar), address("AW", now.aw);
        if (now.ar.valid && now.ar.ready) reads_.push_back({now.ar, 0});
        if (now.aw.valid && now.aw.ready) addresses_.push_back(now.aw);
        if (now.w.valid && now.w.ready) beats_.push_back(now.w);
        write_data();
        was_ = now;
    }

  private:
    struct Read {
        Address address;
        uint32_t done;
    };

    void reset(const Bus& now) {
        if (resetting_ >= settle_ && (now.ar.valid || now.aw.valid || now.w.valid)) fail("valid of a master in reset (A3.1.2)");
        if (resetting_ >= settle_ && (now.r.valid || now.b.valid)) fail("valid of a slave in reset (A3.1.2)");
        resetting_ = now.resetn ? 0 : resetting_ + 1;
        if (!now.resetn) forget();
    }

    template <class Channel>
    void stable(const char* name, const Channel& was, const Channel& now) {
        if (!was.valid || was.ready) return;
        if (!now.valid) fail("%s: valid fell before ready (A3.2.1)", name);
        else if (was.payload() != now.payload()) fail("%s: changed before ready (A3.2.1)", name);
    }

    void address(const char* name, const Address& a) {
        if (!a.valid) return;
        const uint32_t beats = a.len + 1;
        if (a.bytes() > bytes_) fail("%s: beats of %u bytes on a bus of %u (A3.4.1)", name, uint32_t(a.bytes()), bytes_);
        if (beats > longest_) fail("%s: burst of %u beats: expected at most %u (A3.4.1)", name, beats, longest_);
        if (a.burst > kWrap) fail("%s: reserved burst type (A3.4.1)", name);
        if (a.burst == kIncr && a.aligned() % 4096 + a.total() > 4096)
            fail("%s: burst of %u beats at %#llx crosses a 4 KiB border (A3.4.1)", name, beats, (unsigned long long)a.addr);
        if (a.burst == kWrap && beats != 2 && beats != 4 && beats != 8 && beats != 16)
            fail("%s: wrapping burst of %u beats: expected 2, 4, 8 or 16 (A3.4.1)", name, beats);
        if (a.burst == kWrap && a.addr != a.aligned()) fail("%s: wrapping burst that is not aligned (A3.4.1)", name);
        if ((a.cache & 2) == 0 && (a.cache & 12) != 0) fail("%s: reserved memory type %u (A4.4)", name, a.cache);
        if (a.lock > 2) fail("%s: reserved lock type (A7.4)", name);
        if (a.lock == kExclusive && (a.total() > 128 || (a.total() & (a.total() - 1)) || a.addr % a.total()))
            fail("%s: exclusive access of %llu bytes at %#llx (A7.2.4)", name, (unsigned long long)a.total(), (unsigned long long)a.addr);
    }

    // The first of a list with this ID: those of one ID are answered in order (A5.3).
    template <class List, class Id>
    static auto oldest(List& list, uint32_t id, Id id_of) {
        auto found = list.begin();
        while (found != list.end() && id_of(*found) != id) ++found;
        return found;
    }

    void read_data(const ReadData& r) {
        if (!r.valid) return;
        const auto read = oldest(reads_, r.id, [](const Read& one) { return one.address.id; });
        if (read == reads_.end()) return fail("R: data of ID %u that nothing asked for (A3.3.1)", r.id);
        const bool last = read->done == read->address.len;
        if (r.last != last) fail("R: last = %d in beat %u of %u (A3.2.2)", r.last, read->done + 1, read->address.len + 1);
        if (r.resp == kExokay && read->address.lock != kExclusive) fail("R: EXOKAY of a normal access (A7.2.3)");
        if (!r.ready) return;
        if (++read->done > read->address.len) reads_.erase(read);
    }

    void response(const Response& b) {
        if (!b.valid) return;
        const auto write = oldest(written_, b.id, [](const Address& one) { return one.id; });
        if (write == written_.end()) return fail("B: response of ID %u to nothing that is written (A3.3.1)", b.id);
        if (b.resp == kExokay && write->lock != kExclusive) fail("B: EXOKAY of a normal access (A7.2.3)");
        if (b.ready) written_.erase(write);
    }

    // Beats belong to addresses in their order, whichever comes first (A3.3.1, A5.4).
    void write_data() {
        while (!addresses_.empty() && !beats_.empty()) {
            const Address& a = addresses_.front();
            const WriteData& w = beats_.front();
            if (w.id != a.id) fail("W: data of ID %u, in the order of the addresses that of ID %u (A5.4)", w.id, a.id);
            if (w.last != (beat_ == a.len)) fail("W: last = %d in beat %u of %u (A3.2.2)", w.last, beat_ + 1, a.len + 1);
            if (w.strb & ~lanes(a, beat_)) fail("W: strobe %#x in beat %u writes more than is addressed (A3.4.3)", w.strb, beat_ + 1);
            beats_.pop_front();
            if (beat_++ < a.len) continue;
            written_.push_back(a);
            addresses_.pop_front();
            beat_ = 0;
        }
    }

    // Byte lanes of a beat (A3.4.2).
    uint32_t lanes(const Address& a, uint32_t beat) const {
        uint64_t first = beat && a.burst != kFixed ? a.aligned() + beat * a.bytes() : a.addr;
        const uint64_t low = a.addr / a.total() * a.total();
        if (a.burst == kWrap && first >= low + a.total()) first -= a.total();
        const uint64_t end = first / a.bytes() * a.bytes() + a.bytes();
        uint32_t mask = 0;
        for (uint64_t at = first; at < end; ++at) mask |= 1u << at % bytes_;
        return mask;
    }

    void fail(const char* format, ...) {
        if (!broken_.empty()) return;
        char text[160];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        broken_ = text;
    }

    const uint32_t bytes_, longest_, settle_;
    std::string broken_;
    uint32_t resetting_ = 0;
    Bus was_;
    std::deque<Read> reads_;         // addresses taken, data not complete
    std::deque<Address> addresses_;  // addresses taken, data not complete
    std::deque<WriteData> beats_;    // ahead of their address
    uint32_t beat_ = 0;              // of the first of `addresses_`
    std::deque<Address> written_;    // data complete, no response
};

}  // namespace axi
