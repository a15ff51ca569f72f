// SPDX-License-Identifier: Apache-2.0
// A bus master with the accelerator's ports that does what its registers say, right or wrong.
//
// Registers: 0x00 address, 0x04 length (beats - 1), 0x08 burst type and size (bits 0 to 1, 2 to 4), 0x0c write data, 0x10 write last,
// 0x14 valid: of address channels (bit 0: port 0 read, 1: port 1 read, 2: port 0 write) and of write data (3). A bit of valid falls when its
// transfer is taken, as it should; everything else changes when it is written, whether or not it may.
module codenet(
    input aclk, aresetn, output irq, step_end,
    input [11:0] s_axi_awaddr, input s_axi_awvalid, output s_axi_awready,
    input [31:0] s_axi_wdata, input [3:0] s_axi_wstrb, input s_axi_wvalid, output s_axi_wready,
    output reg s_axi_bvalid, input s_axi_bready, output [1:0] s_axi_bresp,
    input [11:0] s_axi_araddr, input s_axi_arvalid, output s_axi_arready,
    output reg s_axi_rvalid, input s_axi_rready, output [31:0] s_axi_rdata, output [1:0] s_axi_rresp,
    output m_axi0_arvalid, input m_axi0_arready, output [31:0] m_axi0_araddr, output [7:0] m_axi0_arlen,
    output [2:0] m_axi0_arsize, output [1:0] m_axi0_arburst,
    input m_axi0_rvalid, output m_axi0_rready, input [63:0] m_axi0_rdata, input [1:0] m_axi0_rresp, input m_axi0_rlast,
    output m_axi1_arvalid, input m_axi1_arready, output [31:0] m_axi1_araddr, output [7:0] m_axi1_arlen,
    output [2:0] m_axi1_arsize, output [1:0] m_axi1_arburst,
    input m_axi1_rvalid, output m_axi1_rready, input [63:0] m_axi1_rdata, input [1:0] m_axi1_rresp, input m_axi1_rlast,
    output m_axi0_awvalid, input m_axi0_awready, output [31:0] m_axi0_awaddr, output [7:0] m_axi0_awlen,
    output [2:0] m_axi0_awsize, output [1:0] m_axi0_awburst,
    output m_axi0_wvalid, input m_axi0_wready, output [63:0] m_axi0_wdata, output [7:0] m_axi0_wstrb, output m_axi0_wlast,
    input m_axi0_bvalid, output m_axi0_bready, input [1:0] m_axi0_bresp
);
    reg [31:0] address, data;
    reg [7:0] length;
    reg [4:0] kind;
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
    assign m_axi0_wdata = data, m_axi0_wstrb = 8'hff, m_axi0_wlast = last;

    always @(posedge aclk)
        if (!aresetn) {s_axi_bvalid, s_axi_rvalid, valid} <= 0;
        else begin
            s_axi_bvalid <= write | s_axi_bvalid & ~s_axi_bready;
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
                endcase
        end
endmodule
