// SPDX-License-Identifier: Apache-2.0
// The simulated board: the Verilated accelerator, and the memory and bus around it, as a shared library for sim/verilator/board.py.
//
// One call of `tick` is one clock. The memory model follows sim/timing.py. Each bus is watched by axi_rules.hpp; what this memory
// asks for besides is checked here. The first broken rule, or access outside the allowed ranges, stops the simulation with a text.

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "Vcodenet.h"
#include "axi_rules.hpp"
#include "verilated.h"

double sc_time_stamp() { return 0; }

extern "C" {
// Layout known to sim/verilator/board.py.
struct Timing {
    uint32_t latency, outstanding, bytes_per_cycle, refresh_interval, refresh_cycles, jitter;
    uint32_t stall;  // probability * 2**32
    uint32_t seed;
};
}

namespace {

constexpr int kBeat = 8;
constexpr int kRegisterTimeout = 1000;
constexpr uint32_t kResetCycles = 4;  // for which registers spread a reset
constexpr uint32_t kLongest = 16;     // beats of a burst on an AXI3 bus
constexpr uint32_t kOkay = 0, kSlaveError = 2, kDecodeError = 3;
constexpr uint64_t kNever = ~uint64_t(0);

enum Bus { kPort0, kPort1, kRegisters, kBuses };
enum Permission { kRead = 1, kWrite = 2 };
enum Channel { kRead0, kRead1, kWrite0, kChannels };
enum Handshake { kAddress, kData, kResponse };
enum Stop { kLimit = 0, kInterrupt = 1, kStep = 2, kViolation = 3 };

struct Range {
    uint64_t low, high;
    uint32_t kind;
};

struct Burst {
    uint64_t address;
    uint32_t beats;
    uint64_t ready;  // cycle from which its first beat, or its response, may move
    uint32_t response;
};

struct Address {
    bool valid;
    uint32_t address;
    uint32_t length;
};

class Random {
  public:
    explicit Random(uint32_t seed) : state_(seed * 2654435761u + 0x9E3779B97F4A7C15ull) {}
    uint32_t next() {
        state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17;
        return uint32_t(state_ >> 32);
    }

  private:
    uint64_t state_;
};

struct ReadChannel {
    std::deque<Burst> bursts;
    uint32_t done = 0;  // beats of the oldest burst that have been loaded
    bool ar_ready = false, r_valid = false, r_last = false;
    uint64_t r_data = 0;
    uint32_t r_resp = 0;
};

struct WriteChannel {
    std::deque<Burst> bursts;     // addresses accepted, data not complete
    std::deque<Burst> responses;  // data complete
    uint32_t done = 0;
    bool aw_ready = false, w_ready = false, b_valid = false;
    uint32_t b_resp = 0;
};

// What a channel's pins are, by the beginning of their names; an AXI4-Lite bus has bursts of one beat of 4 bytes (B1.1).
#define ADDRESS_PINS(p) \
    axi::Address{bool(top_->p##valid), bool(top_->p##ready), top_->p##addr,  top_->p##id,    top_->p##len, \
                 top_->p##size,        top_->p##burst,       top_->p##lock,  top_->p##cache, top_->p##prot}
#define READ_PINS(p) \
    axi::ReadData{bool(top_->p##_rvalid), bool(top_->p##_rready), top_->p##_rdata, top_->p##_rid, top_->p##_rresp, bool(top_->p##_rlast)}
#define WRITE_PINS(p) \
    axi::WriteData{bool(top_->p##_wvalid), bool(top_->p##_wready), top_->p##_wdata, top_->p##_wid, top_->p##_wstrb, bool(top_->p##_wlast)}
#define RESPONSE_PINS(p) axi::Response{bool(top_->p##_bvalid), bool(top_->p##_bready), top_->p##_bid, top_->p##_bresp}
#define LITE_ADDRESS_PINS(p) axi::Address{bool(top_->p##valid), bool(top_->p##ready), top_->p##addr, 0, 0, 2, axi::kIncr, 0, 0, top_->p##prot}
#define LITE_READ_PINS(p) axi::ReadData{bool(top_->p##_rvalid), bool(top_->p##_rready), top_->p##_rdata, 0, top_->p##_rresp, true}
#define LITE_WRITE_PINS(p) axi::WriteData{bool(top_->p##_wvalid), bool(top_->p##_wready), top_->p##_wdata, 0, top_->p##_wstrb, true}
#define LITE_RESPONSE_PINS(p) axi::Response{bool(top_->p##_bvalid), bool(top_->p##_bready), 0, top_->p##_bresp}

class Board {
  public:
    Board(const Timing& timing, uint64_t base, uint64_t size)
        : timing_(timing), random_(timing.seed), base_(base), size_(size),
          memory_(static_cast<uint8_t*>(calloc(size, 1))), top_(new Vcodenet(&context_)) {
        restart();
    }
    ~Board() {
        top_->final();
        delete top_;
        free(memory_);
    }

    uint8_t* memory() { return memory_; }
    uint64_t cycles() const { return cycle_; }
    uint64_t steps() const { return steps_; }
    const char* violation() const { return violation_.c_str(); }
    void clear_violation() { violation_.clear(); }
    void allow(uint64_t low, uint64_t high, uint32_t kind) { allowed_.push_back({low, high, kind}); }
    void forbid(uint64_t low) {
        for (size_t n = 0; n < allowed_.size(); ++n)
            if (allowed_[n].low == low) allowed_.erase(allowed_.begin() + n--);
    }
    void fault(uint64_t low, uint64_t high, uint32_t kind) {
        faults_.clear();
        if (kind) faults_.push_back({low, high, kind});
    }
    void halt(uint32_t channels) { halted_ = channels; }
    void stall(uint32_t handshakes, uint64_t after, uint64_t cycles) {
        stalled_ = handshakes, stall_begin_ = cycle_ + after;
        stall_end_ = cycles < kNever - stall_begin_ ? stall_begin_ + cycles : kNever;
    }
    void respond(int channel, uint64_t transfer, uint32_t response) {
        due_[channel] = transfers_[channel] + transfer, answers_[channel] = response;
    }
    uint64_t transfers(int channel) const { return transfers_[channel]; }
    void guard(bool on) { guarded_ = on; }
    uint64_t unanswered() const { return rules_[kPort0].unanswered() + rules_[kPort1].unanswered() + rules_[kRegisters].unanswered(); }
    uint64_t strays(uint32_t kind) const { return strays_[kind == kWrite]; }

    // What switching power off and on does, except that memory stays.
    void restart() {
        top_->s_axi_arvalid = top_->s_axi_rready = top_->s_axi_awvalid = top_->s_axi_wvalid = top_->s_axi_bready = 0;
        top_->aresetn = 0;
        for (int n = 0; n < 8; ++n) {
            reads_[0] = reads_[1] = {}, write_ = {}, tokens_ = 0;
            tick();
        }
        top_->aresetn = 1;
        tick();
    }

    int run(uint64_t limit, bool until_interrupt, bool until_step) {
        for (uint64_t n = 0; n < limit; ++n) {
            const uint64_t steps = steps_;
            tick();
            if (!violation_.empty()) return kViolation;
            if (until_step && steps_ != steps) return kStep;
            if (until_interrupt && top_->irq) return kInterrupt;
        }
        return kLimit;
    }

    // Returns the response code, or -1 if there was none in time.
    int read(uint32_t offset, uint32_t* value) {
        top_->s_axi_araddr = offset;
        top_->s_axi_arvalid = 1;
        top_->s_axi_rready = 1;
        bool address = true;
        for (int n = 0; n < kRegisterTimeout; ++n) {
            tick();
            if (address && seen_.ar) top_->s_axi_arvalid = 0, address = false;
            if (seen_.r) {
                top_->s_axi_rready = 0;
                *value = seen_.r_data;
                return int(seen_.r_resp);
            }
        }
        top_->s_axi_arvalid = top_->s_axi_rready = 0;
        rules_[kRegisters].forget();
        return -1;
    }

    int write(uint32_t offset, uint32_t value, uint32_t strobe) {
        top_->s_axi_awaddr = offset;
        top_->s_axi_awvalid = 1;
        top_->s_axi_wdata = value;
        top_->s_axi_wstrb = strobe;
        top_->s_axi_wvalid = 1;
        top_->s_axi_bready = 1;
        for (int n = 0; n < kRegisterTimeout; ++n) {
            tick();
            if (seen_.aw) top_->s_axi_awvalid = 0;
            if (seen_.w) top_->s_axi_wvalid = 0;
            if (seen_.b) {
                top_->s_axi_bready = 0;
                return int(seen_.b_resp);
            }
        }
        top_->s_axi_awvalid = top_->s_axi_wvalid = top_->s_axi_bready = 0;
        rules_[kRegisters].forget();
        return -1;
    }

  private:
    void tick() {
        drive();
        top_->aclk = 0;
        top_->eval();
        sample_registers();
        watch();
        steps_ += top_->step_end;
        const bool refresh =
            timing_.refresh_interval && cycle_ % timing_.refresh_interval >= timing_.refresh_interval - timing_.refresh_cycles;
        accept_reads(0, {bool(top_->m_axi0_arvalid), top_->m_axi0_araddr, top_->m_axi0_arlen},
                     top_->m_axi0_arsize == 3 && top_->m_axi0_arburst == 1, top_->m_axi0_rready);
        accept_reads(1, {bool(top_->m_axi1_arvalid), top_->m_axi1_araddr, top_->m_axi1_arlen},
                     top_->m_axi1_arsize == 3 && top_->m_axi1_arburst == 1, top_->m_axi1_rready);
        accept_writes({bool(top_->m_axi0_awvalid), top_->m_axi0_awaddr, top_->m_axi0_awlen},
                      top_->m_axi0_awsize == 3 && top_->m_axi0_awburst == 1);
        top_->aclk = 1;
        top_->eval();
        ++cycle_;
        move(refresh);
    }

    void drive() {
        top_->m_axi0_arready = reads_[0].ar_ready;
        top_->m_axi0_rvalid = reads_[0].r_valid;
        top_->m_axi0_rdata = reads_[0].r_data;
        top_->m_axi0_rresp = reads_[0].r_resp;
        top_->m_axi0_rlast = reads_[0].r_last;
        top_->m_axi1_arready = reads_[1].ar_ready;
        top_->m_axi1_rvalid = reads_[1].r_valid;
        top_->m_axi1_rdata = reads_[1].r_data;
        top_->m_axi1_rresp = reads_[1].r_resp;
        top_->m_axi1_rlast = reads_[1].r_last;
        top_->m_axi0_awready = write_.aw_ready;
        top_->m_axi0_wready = write_.w_ready;
        top_->m_axi0_bvalid = write_.b_valid;
        top_->m_axi0_bresp = write_.b_resp;
    }

    void sample_registers() {
        seen_.ar = top_->s_axi_arvalid && top_->s_axi_arready;
        seen_.r = top_->s_axi_rvalid && top_->s_axi_rready;
        seen_.r_data = top_->s_axi_rdata;
        seen_.r_resp = top_->s_axi_rresp;
        seen_.aw = top_->s_axi_awvalid && top_->s_axi_awready;
        seen_.w = top_->s_axi_wvalid && top_->s_axi_wready;
        seen_.b = top_->s_axi_bvalid && top_->s_axi_bready;
        seen_.b_resp = top_->s_axi_bresp;
    }

    void watch() {
        for (axi::Bus& bus : wires_) bus.resetn = top_->aresetn;
        wires_[0].ar = ADDRESS_PINS(m_axi0_ar), wires_[0].r = READ_PINS(m_axi0);
        wires_[0].aw = ADDRESS_PINS(m_axi0_aw), wires_[0].w = WRITE_PINS(m_axi0), wires_[0].b = RESPONSE_PINS(m_axi0);
        wires_[1].ar = ADDRESS_PINS(m_axi1_ar), wires_[1].r = READ_PINS(m_axi1);
        wires_[2].ar = LITE_ADDRESS_PINS(s_axi_ar), wires_[2].r = LITE_READ_PINS(s_axi);
        wires_[2].aw = LITE_ADDRESS_PINS(s_axi_aw), wires_[2].w = LITE_WRITE_PINS(s_axi), wires_[2].b = LITE_RESPONSE_PINS(s_axi);
        static const char* const names[] = {"port 0", "port 1", "registers"};
        for (int n = 0; n < kBuses; ++n) {
            rules_[n].cycle(wires_[n]);
            if (!rules_[n].broken().empty()) fail("%s: %s", names[n], rules_[n].broken().c_str()), rules_[n].forgive();
        }
    }

    void check_address(const char* what, const Address& now, bool constants, Permission kind) {
        if (!now.valid) return;
        const uint32_t bytes = (now.length + 1) * kBeat;
        if (!constants) fail("%s: size or burst type is not 8 bytes INCR", what);
        if (now.address % kBeat) fail("%s: address %#x is no multiple of 8", what, now.address);
        if (!guarded_ && !allowed(now, kind))
            fail("%s: %u bytes at %#x lie outside the allocated memory", what, bytes, now.address);
    }

    bool allowed(const Address& now, Permission kind) const {
        const uint64_t end = uint64_t(now.address) + (now.length + 1) * kBeat;
        for (const Range& range : allowed_)
            if ((range.kind & kind) && range.low <= now.address && end <= range.high) return true;
        return false;
    }

    uint32_t response(const Address& now, Permission kind) {
        if (guarded_ && !allowed(now, kind)) {
            ++strays_[kind == kWrite];
            return kDecodeError;
        }
        for (const Range& range : faults_)
            if ((range.kind & kind) && now.address < range.high && range.low < uint64_t(now.address) + (now.length + 1) * kBeat)
                return kSlaveError;
        return kOkay;
    }

    uint64_t delay() { return timing_.latency + (timing_.jitter ? random_.next() % (timing_.jitter + 1) : 0); }

    void accept_reads(int port, const Address& now, bool constants, bool r_ready) {
        ReadChannel& channel = reads_[port];
        check_address(port ? "port 1 read" : "port 0 read", now, constants, kRead);
        if (now.valid && channel.ar_ready)
            channel.bursts.push_back({now.address, now.length + 1, cycle_ + delay(), response(now, kRead)});
        if (r_ready) channel.r_valid = false;
    }

    void accept_writes(const Address& now, bool constants) {
        check_address("port 0 write", now, constants, kWrite);
        if (now.valid && write_.aw_ready) write_.bursts.push_back({now.address, now.length + 1, 0, response(now, kWrite)});
        if (top_->m_axi0_bready) write_.b_valid = false;
        if (!write_.w_ready) return;
        if (top_->m_axi0_wvalid) take_beat(top_->m_axi0_wdata, top_->m_axi0_wstrb);
        else tokens_ += kBeat;  // the grant was not used
    }

    void take_beat(uint64_t data, uint32_t strobe) {
        Burst& burst = write_.bursts.front();
        const uint64_t offset = burst.address + uint64_t(write_.done) * kBeat - base_;
        if (burst.response != kDecodeError && offset + kBeat <= size_)
            for (int n = 0; n < kBeat; ++n)
                if (strobe >> n & 1) memory_[offset + n] = uint8_t(data >> 8 * n);
        if (++write_.done < burst.beats) return;
        burst.ready = cycle_ + delay();
        write_.responses.push_back(burst);
        write_.bursts.pop_front();
        write_.done = 0;
    }

    bool paused(Channel channel, Handshake handshake) {
        const bool stalled = cycle_ >= stall_begin_ && cycle_ < stall_end_ && (stalled_ >> (kChannels * handshake + channel) & 1);
        return stalled || (halted_ >> channel & 1) || (timing_.stall && random_.next() < timing_.stall);
    }

    // Response of the next transfer of read data, or of the next write response: `usual`, unless another one is due.
    uint32_t answer(Channel channel, uint32_t usual) { return transfers_[channel]++ == due_[channel] ? answers_[channel] : usual; }

    // What the memory does for the next cycle: one beat a channel at most, and no more bytes in all than the bandwidth.
    void move(bool refresh) {
        if (!refresh) tokens_ += timing_.bytes_per_cycle;
        const int64_t most = 2 * kBeat + timing_.bytes_per_cycle;
        if (tokens_ > most) tokens_ = most;
        write_.w_ready = false;
        for (int n = 0; n < kChannels; ++n) {
            const int channel = (first_ + n) % kChannels;
            if (refresh || tokens_ < kBeat) break;
            if (channel == kWrite0 ? grant_write() : load_beat(Channel(channel))) tokens_ -= kBeat;
        }
        first_ = (first_ + 1) % kChannels;
        for (int port = 0; port < 2; ++port)
            reads_[port].ar_ready = reads_[port].bursts.size() < timing_.outstanding && !paused(Channel(port), kAddress);
        write_.aw_ready = write_.bursts.size() + write_.responses.size() < timing_.outstanding && !paused(kWrite0, kAddress);
        if (!write_.b_valid && !write_.responses.empty() && cycle_ >= write_.responses.front().ready &&
            !paused(kWrite0, kResponse)) {
            write_.b_valid = true;
            write_.b_resp = answer(kWrite0, write_.responses.front().response);
            write_.responses.pop_front();
        }
    }

    bool grant_write() {
        // Ready only while a burst will still be open after this cycle.
        write_.w_ready = !write_.bursts.empty() && !paused(kWrite0, kData);
        return write_.w_ready;
    }

    bool load_beat(Channel number) {
        ReadChannel& channel = reads_[number];
        if (channel.r_valid || channel.bursts.empty() || cycle_ < channel.bursts.front().ready || paused(number, kData))
            return false;
        const Burst& burst = channel.bursts.front();
        const uint64_t offset = burst.address + uint64_t(channel.done) * kBeat - base_;
        channel.r_data = 0xBADC0FFEE0DDF00Dull;
        channel.r_resp = answer(number, burst.response);
        if (channel.r_resp == kOkay && offset + kBeat <= size_) memcpy(&channel.r_data, memory_ + offset, kBeat);
        channel.r_last = ++channel.done == burst.beats;
        channel.r_valid = true;
        if (channel.r_last) channel.bursts.pop_front(), channel.done = 0;
        return true;
    }

    void fail(const char* format, ...) {
        if (!violation_.empty()) return;
        char text[256];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        violation_ = std::string(text) + ", cycle " + std::to_string(cycle_);
    }

    struct {
        bool ar, r, aw, w, b;
        uint32_t r_data, r_resp, b_resp;
    } seen_{};
    Timing timing_;
    Random random_;
    uint64_t base_, size_, cycle_ = 0, steps_ = 0;
    uint8_t* memory_;
    VerilatedContext context_;
    Vcodenet* top_;
    axi::Bus wires_[kBuses];
    axi::Rules rules_[kBuses] = {{kBeat, kLongest, kResetCycles}, {kBeat, kLongest, kResetCycles}, {4, 1, kResetCycles}};
    ReadChannel reads_[2];
    WriteChannel write_;
    int64_t tokens_ = 0;
    int first_ = 0;
    uint32_t halted_ = 0, stalled_ = 0;
    uint64_t stall_begin_ = 0, stall_end_ = 0;
    uint64_t transfers_[kChannels] = {}, due_[kChannels] = {kNever, kNever, kNever}, strays_[2] = {};
    uint32_t answers_[kChannels] = {};
    bool guarded_ = false;
    std::vector<Range> allowed_, faults_;
    std::string violation_;
};

}  // namespace

extern "C" {
Board* board_create(const Timing* timing, uint64_t base, uint64_t size) { return new Board(*timing, base, size); }
void board_destroy(Board* board) { delete board; }
uint8_t* board_memory(Board* board) { return board->memory(); }
uint64_t board_cycles(Board* board) { return board->cycles(); }
uint64_t board_steps(Board* board) { return board->steps(); }
const char* board_violation(Board* board) { return board->violation(); }
void board_clear_violation(Board* board) { board->clear_violation(); }
void board_allow(Board* board, uint64_t low, uint64_t high, uint32_t kind) { board->allow(low, high, kind); }
void board_forbid(Board* board, uint64_t low) { board->forbid(low); }
void board_fault(Board* board, uint64_t low, uint64_t high, uint32_t kind) { board->fault(low, high, kind); }
void board_halt(Board* board, uint32_t channels) { board->halt(channels); }
void board_stall(Board* board, uint32_t handshakes, uint64_t after, uint64_t cycles) { board->stall(handshakes, after, cycles); }
void board_respond(Board* board, int channel, uint64_t transfer, uint32_t response) { board->respond(channel, transfer, response); }
uint64_t board_transfers(Board* board, int channel) { return board->transfers(channel); }
void board_guard(Board* board, int on) { board->guard(on); }
uint64_t board_unanswered(Board* board) { return board->unanswered(); }
uint64_t board_strays(Board* board, uint32_t kind) { return board->strays(kind); }
void board_restart(Board* board) { board->restart(); }
int board_read(Board* board, uint32_t offset, uint32_t* value) { return board->read(offset, value); }
int board_write(Board* board, uint32_t offset, uint32_t value, uint32_t strobe) { return board->write(offset, value, strobe); }
int board_run(Board* board, uint64_t limit, int until_interrupt, int until_step) {
    return board->run(limit, until_interrupt, until_step);
}
}
