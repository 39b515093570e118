# ghostscript renders text, curves, shadings and images; the pixels are compared.
cat > pages.ps <<'PS'
%!PS
/Helvetica findfont 11 scalefont setfont
1 1 PAGES {
  /page exch def
  0 1 60 { /line exch def 40 760 line 12 mul sub moveto (Order ) show line page mul 20 string cvs show
    ( costs ) show line page add sqrt 20 string cvs show } for
  0 1 150 { /i exch def newpath i 4 mul page 10 mul moveto 300 i 5 mul 100 i 7 mul 560 i 3 mul 780 mod curveto
    i 150 div 0.3 page 10 div setrgbcolor i 30 div setlinewidth stroke } for
  << /ShadingType 2 /ColorSpace /DeviceRGB /Coords [0 0 600 800] /Function << /FunctionType 2 /Domain [0 1]
     /C0 [1 0 0] /C1 [0 page 10 div 1] /N 1 >> /Extend [true true] >> /s exch def
  gsave 200 200 150 0 360 arc clip s shfill grestore
  gsave 300 400 translate 200 200 scale 64 64 8 [64 0 0 -64 0 64] { 64 string 0 1 63 { 1 index exch dup page mul 255 and put } for } image grestore
  showpage
} for
PS
sed -i "s/PAGES/$((4 * SCALE))/" pages.ps
gs -q -dNOPAUSE -dBATCH -dSAFER -sDEVICE=ppmraw -r100 -dTextAlphaBits=4 -dGraphicsAlphaBits=4 -sOutputFile=page%d.ppm pages.ps
echo "status $?"
gs -q -dNOPAUSE -dBATCH -dSAFER -sDEVICE=pdfwrite -dCompressPages=true -sOutputFile=pages.pdf pages.ps
echo "status $?"
gs -q -dNOPAUSE -dBATCH -dSAFER -dNumRenderingThreads=2 -sDEVICE=png16m -r72 -sOutputFile=again%d.png pages.pdf
echo "status $?"
rm -f pages.pdf # holds the time
