// SPDX-License-Identifier: Apache-2.0
// A netlist of 7-series cells as tables (sim/netlist/tables.py), evaluated cycle by cycle behind the face of a Verilated model.
//
// Two values, one clock, no delays. A LUT memory is a LUT whose table a write changes; so are CARRY4, MUXF and INV LUTs.
// What it needs of its surroundings: the class below it, generated, has the ports and calls them `ports()`.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

class Netlist {
  public:
    explicit Netlist(const char* path) {
        FILE* file = fopen(path, "rb");
        if (!file) fail(path, "cannot be opened");
        uint32_t count[7];
        read(file, path, count, sizeof count);
        values_.assign(count[0], 0);
        values_[kOne] = 1;
        load(file, path, luts_, count[1]);
        load(file, path, flip_flops_, count[2]);
        load(file, path, writes_, count[3]);
        load(file, path, block_rams_, count[4]);
        load(file, path, slices_, count[5]);
        load(file, path, port_bits_, count[6]);
        fclose(file);
        next_.resize(flip_flops_.size());
        block_ram_state_.resize(block_rams_.size());
        slice_state_.resize(slices_.size());
        for (const FlipFlop& f : flip_flops_) values_[f.q] = f.initial;
    }

    // Inverts bits of a LUT's table: a fault.
    bool invert(uint32_t lut, uint64_t mask) {
        if (lut >= luts_.size()) return false;
        luts_[lut].table ^= mask;
        return true;
    }

  protected:
    void set(size_t& bit, uint64_t value, int width) {
        for (int n = 0; n < width; ++n) values_[port_bits_[bit++]] = value >> n & 1;
    }
    uint64_t get(size_t& bit, int width) const {
        uint64_t value = 0;
        for (int n = 0; n < width; ++n) value |= uint64_t(values_[port_bits_[bit++]]) << n;
        return value;
    }

    void settle() {
        uint8_t* const v = values_.data();
        for (const Lut& l : luts_) {
            const unsigned index = v[l.in[0]] | v[l.in[1]] << 1 | v[l.in[2]] << 2 | v[l.in[3]] << 3 | v[l.in[4]] << 4 | v[l.in[5]] << 5;
            v[l.out] = l.table >> index & 1;
        }
    }

    void tick() {
        const uint8_t* const v = values_.data();
        for (size_t n = 0; n < flip_flops_.size(); ++n) {
            const FlipFlop& f = flip_flops_[n];
            next_[n] = v[f.reset] ? f.after_reset : v[f.enable] ? v[f.d] : v[f.q];
        }
        for (const Write& w : writes_) {
            if (!v[w.enable]) continue;
            unsigned address = 0;
            for (int n = 0; n < 6; ++n) address |= v[w.address[n]] << n;
            uint64_t& table = luts_[w.lut].table;
            table = (table & ~(uint64_t(1) << address)) | uint64_t(v[w.d]) << address;
        }
        for (size_t n = 0; n < block_rams_.size(); ++n) clock(block_rams_[n], block_ram_state_[n]);
        for (size_t n = 0; n < slices_.size(); ++n) clock(slices_[n], slice_state_[n]);
        // Everything above has read the values before the edge.
        for (size_t n = 0; n < flip_flops_.size(); ++n) values_[flip_flops_[n].q] = next_[n];
        for (size_t n = 0; n < block_rams_.size(); ++n) drive(block_rams_[n], block_ram_state_[n]);
        for (size_t n = 0; n < slices_.size(); ++n) drive(slices_[n], slice_state_[n]);
    }

  private:
    static constexpr uint32_t kOne = 1;  // Value 0 is constant 0, value 2 nobody's.

    struct Lut {
        uint64_t table;
        uint32_t in[6], out, unused;
    };
    struct FlipFlop {
        uint32_t d, enable, reset, q, initial, after_reset;
    };
    struct Write {
        uint32_t lut, enable, d, address[6];
    };
    // Simple dual port (wide: port A reads two halves, port B writes them), or port A writes and port B reads. UG473.
    struct BlockRam {
        uint32_t lanes, wide, registers[2];
        uint32_t enable[2], register_enable[2], reset[2], register_reset[2];
        uint32_t address[2][12], write_a[4], write_b[8], data[2][36], out[2][36];
    };
    struct BlockRamState {
        uint64_t memory[4096] = {}, latch[2] = {}, out[2] = {};
    };
    // P = A * B + (C or PCIN), registers on all; always enabled, never reset. UG479.
    struct Slice {
        uint32_t a_registers, b_registers, c_register, from_pcin;
        uint32_t a[25], b[18], c[48], pcin[48], p[48], pcout[48];
    };
    struct SliceState {
        int64_t a1 = 0, a2 = 0, b1 = 0, b2 = 0, c = 0, m = 0, p = 0;
    };

    uint64_t bits(const uint32_t* ids, int count) const {
        uint64_t value = 0;
        for (int n = 0; n < count; ++n) value |= uint64_t(values_[ids[n]]) << n;
        return value;
    }
    int64_t number(const uint32_t* ids, int count) const { return int64_t(bits(ids, count) << (64 - count)) >> (64 - count); }
    void spread(const uint32_t* ids, int count, uint64_t value) {
        for (int n = 0; n < count; ++n)
            if (ids[n] > 2) values_[ids[n]] = value >> n & 1;
    }

    void clock(const BlockRam& r, BlockRamState& s) {
        const uint8_t* const v = values_.data();
        const unsigned a = unsigned(bits(r.address[0], 12)), b = unsigned(bits(r.address[1], 12));
        for (int half = 0; half < 2; ++half) {
            const int port = r.wide ? 0 : half;
            const uint64_t before = s.latch[half];
            if (v[r.enable[port]])
                s.latch[half] = v[r.reset[port]] ? 0 : s.memory[r.wide ? (a & ~1u) | half : half ? b : a];
            if (v[r.register_reset[port]]) s.out[half] = 0;
            else if (v[r.register_enable[port]]) s.out[half] = before;
        }
        for (unsigned lane = 0; lane < r.lanes; ++lane) {
            const uint64_t mask = uint64_t(511) << 9 * lane;
            for (int half = 0; half < 2; ++half) {
                const bool write = r.wide ? v[r.enable[1]] && v[r.write_b[lane + half * r.lanes]]
                                          : !half && v[r.enable[0]] && v[r.write_a[lane]];
                if (!write) continue;
                uint64_t& word = s.memory[r.wide ? (b & ~1u) | half : a];
                word = (word & ~mask) | (bits(r.data[half], 9 * r.lanes) & mask);
            }
        }
    }
    void drive(const BlockRam& r, const BlockRamState& s) {
        for (int half = 0; half < 2; ++half) spread(r.out[half], 9 * r.lanes, r.registers[half] ? s.out[half] : s.latch[half]);
    }

    void clock(const Slice& d, SliceState& s) {
        const int64_t c = d.c_register ? s.c : number(d.c, 48);
        s.p = s.m + (d.from_pcin ? number(d.pcin, 48) : c);
        s.m = s.a2 * s.b2;
        const int64_t a = number(d.a, 25), b = number(d.b, 18);
        s.a2 = d.a_registers == 2 ? s.a1 : a;
        s.b2 = d.b_registers == 2 ? s.b1 : b;
        s.a1 = a;
        s.b1 = b;
        s.c = number(d.c, 48);
    }
    void drive(const Slice& d, const SliceState& s) {
        spread(d.p, 48, uint64_t(s.p));
        spread(d.pcout, 48, uint64_t(s.p));
    }

    [[noreturn]] static void fail(const char* path, const char* text) {
        fprintf(stderr, "%s: %s\n", path, text);
        abort();
    }
    static void read(FILE* file, const char* path, void* data, size_t size) {
        if (fread(data, 1, size, file) != size) fail(path, "ends too early");
    }
    template <class T> static void load(FILE* file, const char* path, std::vector<T>& rows, size_t count) {
        rows.resize(count);
        read(file, path, rows.data(), count * sizeof(T));
    }

    std::vector<uint8_t> values_, next_;
    std::vector<Lut> luts_;  // in the order of evaluation
    std::vector<FlipFlop> flip_flops_;
    std::vector<Write> writes_;
    std::vector<BlockRam> block_rams_;
    std::vector<BlockRamState> block_ram_state_;
    std::vector<Slice> slices_;
    std::vector<SliceState> slice_state_;
    std::vector<uint32_t> port_bits_;
};
