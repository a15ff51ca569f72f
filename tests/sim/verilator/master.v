// SPDX-License-Identifier: Apache-2.0
// A bus master with the accelerator's ports that does what its registers say, right or wrong.
//
// Registers: 0x00 address, 0x04 length (beats - 1), 0x08 burst type and size (bits 0 to 1, 2 to 4), 0x0c write data, 0x10 write last,
// 0x14 valid: of address channels (bit 0: port 0 read, 1: port 1 read, 2: port 0 write) and of write data (3), 0x18 strobes, 0x1c the rest of an
// address (bits 0 to 1 lock, 2 to 5 cache), 0x20 answers of the registers that nobody asked for (bit 0: read data, 1: a response), once.
// A bit of valid falls when its transfer is taken, as it should; everything else changes when it is written, whether or not it may.
module codenet(
    input aclk, aresetn, output irq, step_end,
    input [11:0] s_axi_awaddr, input [2:0] s_axi_awprot, input s_axi_awvalid, output s_axi_awready,
    input [31:0] s_axi_wdata, input [3:0] s_axi_wstrb, input s_axi_wvalid, output s_axi_wready,
    output reg s_axi_bvalid, input s_axi_bready, output [1:0] s_axi_bresp,
    input [11:0] s_axi_araddr, input [2:0] s_axi_arprot, input s_axi_arvalid, output s_axi_arready,
    output reg s_axi_rvalid, input s_axi_rready, output [31:0] s_axi_rdata, output [1:0] s_axi_rresp,
    output m_axi0_arvalid, input m_axi0_arready, output [31:0] m_axi0_araddr, output [7:0] m_axi0_arlen,
    output [2:0] m_axi0_arsize, m_axi0_arprot, output [1:0] m_axi0_arburst, m_axi0_arlock, output [3:0] m_axi0_arcache, output m_axi0_arid,
    input m_axi0_rvalid, output m_axi0_rready, input [63:0] m_axi0_rdata, input [1:0] m_axi0_rresp, input m_axi0_rlast, m_axi0_rid,
    output m_axi1_arvalid, input m_axi1_arready, output [31:0] m_axi1_araddr, output [7:0] m_axi1_arlen,
    output [2:0] m_axi1_arsize, m_axi1_arprot, output [1:0] m_axi1_arburst, m_axi1_arlock, output [3:0] m_axi1_arcache, output m_axi1_arid,
    input m_axi1_rvalid, output m_axi1_rready, input [63:0] m_axi1_rdata, input [1:0] m_axi1_rresp, input m_axi1_rlast, m_axi1_rid,
    output m_axi0_awvalid, input m_axi0_awready, output [31:0] m_axi0_awaddr, output [7:0] m_axi0_awlen,
    output [2:0] m_axi0_awsize, m_axi0_awprot, output [1:0] m_axi0_awburst, m_axi0_awlock, output [3:0] m_axi0_awcache, output m_axi0_awid,
    output m_axi0_wvalid, input m_axi0_wready, output [63:0] m_axi0_wdata, output [7:0] m_axi0_wstrb, output m_axi0_wlast, m_axi0_wid,
    input m_axi0_bvalid, output m_axi0_bready, input [1:0] m_axi0_bresp, input m_axi0_bid
);
    reg [31:0] address, data;
    reg [7:0] length;
    reg [4:0] kind;
    reg [7:0] strobe;
    reg [5:0] rest;
    reg surplus;
    reg last;
    reg [3:0] valid;
    wire [3:0] ready = {m_axi0_wready, m_axi0_awready, m_axi1_arready, m_axi0_arready};
    wire write = s_axi_awvalid & s_axi_wvalid & ~s_axi_bvalid;

    assign {irq, step_end, s_axi_bresp, s_axi_rresp, s_axi_rdata} = 0;
    assign s_axi_awready = write, s_axi_wready = write, s_axi_arready = ~s_axi_rvalid;
    assign {m_axi0_wvalid, m_axi0_awvalid, m_axi1_arvalid, m_axi0_arvalid} = valid;
    assign {m_axi0_rready, m_axi1_rready, m_axi0_bready} = 3'b111;
    assign m_axi0_araddr = address, m_axi1_araddr = address, m_axi0_awaddr = address;
    assign m_axi0_arlen = length, m_axi1_arlen = length, m_axi0_awlen = length;
    assign {m_axi0_arsize, m_axi0_arburst} = kind, {m_axi1_arsize, m_axi1_arburst} = kind;
    assign {m_axi0_awsize, m_axi0_awburst} = kind;
    assign {m_axi0_arcache, m_axi0_arlock} = rest, {m_axi1_arcache, m_axi1_arlock} = rest, {m_axi0_awcache, m_axi0_awlock} = rest;
    assign {m_axi0_arprot, m_axi1_arprot, m_axi0_awprot, m_axi0_arid, m_axi1_arid, m_axi0_awid, m_axi0_wid} = 0;
    assign m_axi0_wdata = data, m_axi0_wstrb = strobe, m_axi0_wlast = last;

    always @(posedge aclk)
        if (!aresetn) {s_axi_bvalid, s_axi_rvalid, valid, surplus} <= 0;
        else begin
            s_axi_bvalid <= write | s_axi_bvalid & ~s_axi_bready | surplus & ~s_axi_bvalid;
            surplus <= surplus & s_axi_bvalid;
            s_axi_rvalid <= s_axi_arvalid & ~s_axi_rvalid | s_axi_rvalid & ~s_axi_rready;
            valid <= valid & ~ready;
            if (write)
                case (s_axi_awaddr)
                    'h00: address <= s_axi_wdata;
                    'h04: length <= s_axi_wdata;
                    'h08: kind <= s_axi_wdata;
                    'h0c: data <= s_axi_wdata;
                    'h10: last <= s_axi_wdata;
                    'h14: valid <= s_axi_wdata;
                    'h18: strobe <= s_axi_wdata;
                    'h1c: rest <= s_axi_wdata;
                    'h20: {surplus, s_axi_rvalid} <= s_axi_wdata;
                endcase
        end
endmodule
